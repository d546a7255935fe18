/* CRIU for whole containers: ordinary images, in a directory of the caller's, of processes with all of their namespaces.
 * Other runtimes read and write the same. Only what CRIU is asked for is here; what of a container comes from outside
 * (mounts, descriptors, namespaces) is the caller's knowledge.
 *
 * From outside this is included by snapshot.h. Nothing here prints. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>
#include <sys/types.h>

struct snap_engine;

enum { CRIU_MAX_NS = 8, CRIU_MAX_INHERITED = 8 };

/* Everything is borrowed. Zero, NULL and false are what CRIU does by itself. */
struct criu_job {
	const char *images, *work; /* directories, absolute; the log is in @work */
	int images_fd;             /* @images, of the process that asks; FD_NONE: by their name */
	const char *log;           /* its name */
	const char *config;        /* a file whose options win over ours, or NULL */
	bool tcp_established, tcp_close, ext_unix_sockets, shell_job, file_locks, link_remap, auto_dedup, lazy_pages;
	bool empty_net;               /* a network namespace comes without its interfaces, addresses and rules */
	const char *const *externals; /* "mnt[/etc/hosts]:/etc/hosts" … */
	size_t n_externals;

	/* Of a dump. */
	pid_t pid;
	bool pre_dump, leave_running, skip_in_flight, track_memory;
	const char *parent;    /* images of an earlier pre-dump, relative to @images; or NULL */
	const char *page_host; /* pages go to a page server there, or NULL */
	uint16_t page_port;
	int status_fd;      /* told when a lazy dump serves pages; FD_NONE: none */
	const char *frozen; /* directory of the freezer's group, or NULL */
	/* CRIU enters these first, so that they are not in the images: namespaces that the container was given. */
	struct {
		int fd, type;
	} ns[CRIU_MAX_NS];
	size_t n_ns;

	/* Of a restore. */
	const char *root; /* a mount point: what becomes "/" */
	/* CRIU's older way of making mounts, for externals that hear of mounts outside: its newer one takes a file's
	 * mount for the source of what a whole file system hears. */
	bool compat_mounts;
	const char *lsm_profile, *lsm_context;
	struct {
		const char *key; /* "pipe:[123]" */
		int fd;          /* in CRIU's process */
	} inherited[CRIU_MAX_INHERITED];
	size_t n_inherited;
};

/* What CRIU knows of this kernel, which it looks for at length otherwise, and with a network that has to be up. Kept in
 * @dir for this boot, a directory that only root writes to. Empty when it cannot be had: no error. */
void criu_kdat(const struct snap_engine *en, int dir, struct buf *ret);

/* Dumps. @kdat: from criu_kdat(). When this process is killed CRIU finishes, and what it holds stopped goes on or ends
 * as was asked for. On failure the processes go on; *e has CRIU's words. */
NODISCARD int criu_dump(const struct snap_engine *en, const struct buf *kdat, const struct criu_job *j, struct err *e);

/* Where CRIU keeps that: in its own mount namespace something else lies there. */
#define CRIU_KDAT_DIR "/run"
#define CRIU_KDAT     "criu.kdat"

enum { CRIU_WORKER_ARGS = 12, CRIU_WORKER_ENV = 6 };
/* The command of a CRIU that waits for its request at descriptor @sock. Texts that are made lie in @text. */
struct criu_command {
	const char *argv[CRIU_WORKER_ARGS], *envp[CRIU_WORKER_ENV];
	char text[4096];
};
NODISCARD int criu_worker(const struct snap_engine *en, int sock, struct criu_command *ret, struct err *e);
/* The request to restore, for snap_worker_parse()'s answers. @work_fd: @j->work, a descriptor of the process that sends
 * it. The length, or what it would be when that is more than @size. */
size_t criu_restore_request(const struct criu_job *j, int work_fd, void *buf, size_t size);

/* After a failure: CRIU's words from its log in @work, a directory's descriptor, or @otherwise. */
int criu_explain(const struct criu_job *j, int work_fd, const char *doing, const char *otherwise, struct err *e);
