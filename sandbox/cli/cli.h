/* The command line: a table of commands, each with its options; the only code of `fsbox` that prints. */
#pragma once

#include "base/opt.h"
#include "base/str.h"
#include "cell/cell.h"

/* `fsbox run`'s exit statuses that are not a function's: design's table. */
enum { EXIT_USAGE = 2, EXIT_FSBOX = 125, EXIT_CANNOT_EXECUTE = 126, EXIT_NOT_FOUND = 127 };

struct command {
	const char *name;
	const char *operands; /* "[options] TARGET [options]" */
	const char *summary;  /* one line */
	const char *details;  /* paragraphs for help and the man page, or NULL */
	const struct opt_table *tables[3];
	size_t n_tables;
	enum { GROUP_ALONE, GROUP_DAEMON } group; /* under which heading help lists it */
	int (*main)(int argc, char **argv);
};

extern const struct command cmd_run, cmd_check, cmd_snapshot, cmd_help;
extern const struct command cmd_deploy, cmd_events, cmd_exec, cmd_functions, cmd_inspect, cmd_invoke, cmd_kill,
	cmd_logs, cmd_pause, cmd_ps, cmd_resume, cmd_rm, cmd_scale, cmd_serve, cmd_stats, cmd_top, cmd_undeploy;
extern const struct command *const commands[]; /* NULL-terminated */

/* "fsbox: message" and the hint, on stderr. */
void cli_print_err(const struct err *e);

/* The help of one command, on stdout. */
void cli_print_help(const struct command *cmd);

/* ---- start.c ---- */

/* Opens and looks at the code. 0, or what stands in the table of exit statuses for this target. */
int cli_open_code(struct cell_spec *spec, const char *runtime_dir, struct cell_code *ret, struct err *e);
/* Cells of this host will run it; it stays the caller's, who closes it after the host. */
void cli_use_code(struct cell_host *h, const struct cell_code *code);
/* A descriptor that tells of SIGINT, SIGTERM and SIGHUP, which no longer end us by themselves. */
NODISCARD int cli_open_signals(struct err *e);
/* After the cleaning-up: end as the signal would have ended us. Returns when there was none. */
void cli_die_of_signal(int signal_fd);
/* Where in the table of exit statuses an error of ours stands. */
int cli_exit_of(const struct err *e);

/* Directory of init and native: beside the executable (build tree) or in PREFIX/libexec/fsbox. */
NODISCARD int cli_find_runtime(char *buf, size_t size, struct err *e);
/* Directory of fsbox-spawn and fsboxd: the executable's own (build tree) or PREFIX/libexec/fsbox. */
NODISCARD int cli_find_programs(char *buf, size_t size, struct err *e);

/* Writes all of it to a descriptor of ours that may block, unless @signal_fd becomes readable first: -ECANCELED then, so
 * that a reader who stalls cannot keep fsbox from ending. Never leaves the descriptor's flags changed: others share it. */
NODISCARD int cli_write(int fd, const void *data, size_t len, int signal_fd);

/* ---- answer.c: events and answers of calls ---- */

/* Reads an event whole; @arg is what --event was given. @fd is borrowed, *ret_data the caller's to free. */
NODISCARD int cli_read_event(int fd, const char *arg, char **ret_data, size_t *ret_len, struct err *e);
/* The answer, or the error document, to stdout: -errno as cli_write() has it, -ENOMEM. */
NODISCARD int cli_print_answer(const struct call_result *r, bool newline, int signal_fd);
/* What such a write means: an answer that cannot be delivered is a failure of fsbox; a reader who has gone (EPIPE) wanted
 * no more of it. */
NODISCARD int cli_explain_write(int r, struct err *e);
/* The call with its numbers as a JSON object. @more: members for its end, each behind a comma, or NULL. */
void cli_document_call(struct buf *b, const char *id, const struct call_result *r, const char *more);

/* ---- snapshots.c: cold starts that are restores ---- */

/* --snapshot and its value. */
struct snapshot_wish {
	bool wanted, require, unseeded;
	const char *id; /* or NULL */
};
NODISCARD int snapshot_wish_parse(struct snapshot_wish *w, const char *option, const char *value, struct err *e);

/* What is open while snapshots are used. */
struct snapshot_use {
	struct snap_engine engine;
	struct snap_store store;
	struct snap_key key;
	struct snap snap;
	bool open; /* snap */
};
void snapshot_use_init(struct snapshot_use *u);
/* Opens engine and store, and fills the key of @inv's cell. ERR_UNSUPPORTED where there can be no snapshots. */
NODISCARD int snapshot_open(struct snapshot_use *u, const struct invoker *inv, struct err *e);
/* Makes a snapshot of @inv's cell and opens it; its id is then in u->snap.m.id. */
NODISCARD int snapshot_publish(struct snapshot_use *u, const struct invoker *inv, struct err *e);
/* Finds the snapshot that @w asks for, or makes it, and hands it to @inv. What cannot be had is told to @inv's observer and
 * leaves it to cold starts, unless @w requires one. */
NODISCARD int snapshot_use(struct snapshot_use *u, const struct snapshot_wish *w, struct invoker *inv, struct err *e);
void snapshot_use_done(struct snapshot_use *u, struct invoker *inv);

/* ---- log.c: the function's output and the platform's lines, on stderr ---- */

struct run_log {
	bool json;
	int fd;
	struct buf pending;
	struct buf line[2];                  /* JSON: an unfinished line of each stream */
	bool mid_line;                       /* text: the last byte was not a newline */
	char request_id[REQUEST_ID_LEN + 1]; /* of the running call, "" between calls */
	struct session_sink sink;
	struct invoke_observer observer;
	uint64_t lost; /* bytes that stderr did not take */
};
void log_init(struct run_log *log, bool json);
/* The fields of a REPORT line, each with a tab behind it; no newline. */
void log_report_fields(struct buf *b, const char *id, const struct call_result *r);
/* Writes what is pending, waiting as long as stderr takes or until a signal. */
void log_finish(struct run_log *log, int signal_fd);
