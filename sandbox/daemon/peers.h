/* Who may do what: the daemon's policy file, and the rules that hold without one.
 *
 * A peer is what the kernel says of it when it connects (SO_PEERCRED, SO_PEERGROUPS; unix(7)); nothing that a client sends
 * takes part. The first rule that matches decides alone. Quantities are for each uid that the rule matches, not for all of
 * them together, and never more than the daemon's own budget. docs/daemon-policy.md describes the file. Nothing here
 * prints.
 *
 * Rights that were found stay valid until the next peers_load() or peers_read() that succeeds, or peers_done(): who keeps
 * them compares `generation` and looks again. */
#pragma once

#include "base/mem.h"
#include "spec/spec.h"

#include <sys/types.h>

enum {
	PEERS_MAX_BYTES = 256 << 10, /* of the file: at 100 bytes each more rules than PEERS_MAX_RULES */
	PEERS_MAX_RULES = 1024,      /* they are searched in order, once for each connection */
};

/* What the daemon has to give away. */
struct peers_budget {
	uint64_t memory_bytes;
	uint32_t max_cells;
	uint32_t max_queued;
	uint32_t max_functions;
	uint32_t max_execs;
	uid_t own_uid; /* of the daemon: without a file it may do everything, as root may */
	/* True when there is a method of this name ("Invoke"). NULL: any name is taken. */
	bool (*is_method)(const char *name);
};

/* NULL-terminated lists; a list that is NULL stands for "any". */
struct rights {
	const char *rule; /* "rules[2]", "default", "default (admin)", "no rule matches": for Denied.rule */
	bool exec;        /* commands in cells */
	bool admin;       /* functions, cells and logs of every owner, not only its own */
	uint32_t max_cells, max_queued, max_functions, max_execs;
	uint64_t memory_bytes;
	const char *const *methods;  /* without the interface's name */
	const char *const *roots;    /* absolute, no "." or "..", no slash at the end but in "/" */
	const char *const *policies; /* names of built-in policies, or of files as the spec gives them */
	unsigned nets;               /* bits 1 << enum spec_net */
};

struct peers {
	struct peers_rule *rules; /* NULL without a file */
	size_t n_rules;
	bool from_file;
	uint32_t generation; /* counts the loads that succeeded, from 1 */
	uid_t own_uid;
	struct rights others, admin; /* without a file */
	struct rights nobody;        /* with a file, for whom it has no rule */
	struct arena arena;
};

/* Reads @file, or takes the rules that hold without one when it is NULL. The file must be regular, belong to root or to
 * this process's user, and be writable for nobody else. Zero-initialise @p to start. On failure, @p keeps what it had, so
 * that a SIGHUP with a bad file changes nothing. ERR_SPEC with where = "FILE:LINE:COLUMN" or "FILE: $.rules[1].uid";
 * ERR_LIMIT; ERR_DENIED; ERR_NOT_FOUND. */
NODISCARD int peers_load(struct peers *p, const char *file, const struct peers_budget *b, struct err *e);

/* The same from text; @file only names it in errors. */
NODISCARD int peers_read(struct peers *p, const char *file, const char *text, size_t len, const struct peers_budget *b,
			 struct err *e);
void peers_done(struct peers *p);

/* Never NULL. @groups: the supplementary ones, in any order; @gid counts among them. */
const struct rights *peers_find(const struct peers *p, uid_t uid, gid_t gid, const gid_t *groups, size_t n);

/* @method as a call names it ("org.fsbox.Sandbox.Invoke") or alone ("Invoke"). org.varlink.service is open to all. */
bool rights_method(const struct rights *r, const char *method);

/* Does the absolute path lie in one of the roots, component by component ("/srv" holds "/srv/f", not "/srvx")? The path is
 * taken as it stands, so it must be what the kernel calls the opened file (links resolved); one with "." or ".." in it
 * lies in no root. */
bool rights_root(const struct rights *r, const char *canonical_path);
bool rights_policy(const struct rights *r, const char *name);
bool rights_net(const struct rights *r, enum spec_net net);
