/* Deploying: from a spec and its files to a function that fsbox-spawn knows.
 *
 *   parent    reads the spec, checks it against the caller's rights, has files opened with the caller's own permission
 *   child     looks at the files: what a file system does not answer, an archive that takes minutes or a parser that
 *             fails concern this child alone (prepare.h)
 *   parent    checks the child's datagram as anybody's, sends it to fsbox-spawn, keeps the deployment
 */
#pragma once

#include "daemon/answers.h"

/* The calls. */
void method_deploy(struct daemon *d, struct call *c);
void method_undeploy(struct daemon *d, struct call *c);
void method_scale(struct daemon *d, struct call *c);
/* Its client is gone: what is under way goes on without it. */
void deploy_client_gone(struct daemon *d, struct call *c);

/* From the link. */
void deploy_opened(struct daemon *d, const struct spawn_opened *m, int *fd);
void deploy_done(struct daemon *d, const struct spawn_done *m);

/* At the start, when it is known what fsbox-spawn has: takes over the functions that it knows from before, and deploys
 * those of the store that it does not know, as far as everybody may open their files. Negative when the store cannot be
 * read, or memory or descriptors are lacking, and so the function would be lost: a later start may find it better. */
NODISCARD int deploy_known(struct daemon *d, const struct spawn_function *m, const int *fds, size_t n_fds,
			   struct err *e);
void deploy_stored(struct daemon *d);
/* Some of those have not been looked at yet. Not such as are tried again later. d->on_event is called when that ends. */
bool deploy_is_coming(const struct daemon *d);
/* Before these: opens the store. Without it, which is no failure here, deployments last as long as this process; it is
 * tried again from time to time when it may become better. */
NODISCARD int deploy_open_store(struct daemon *d, const char *path, struct err *e);
/* To a call that names a function of the caller's that is not there: NotFound; Busy while it is on its way back from the
 * store, or is to be tried again; SystemFailure when what stands in the store for it cannot be read. */
void deploy_answer_unknown(struct daemon *d, struct call *c, const char *name);
/* Into the store, as it is now. One that fails costs the function's life beyond this daemon's, not the function, and is
 * tried again. */
void deploy_keep(struct function *f);
/* Ends a function; its idle cells leave, what waits is refused. */
void deploy_forget(struct function *f, const char *why);
