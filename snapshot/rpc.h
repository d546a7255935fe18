/* Private to snapshot/: protobuf's wire format, as far as requests to CRIU and its answers go: a key of field number and
 * wire type, then a varint or a length and bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers of criu_req, criu_opts, criu_resp and criu_notify, as CRIU 4.2 has them (images/rpc.proto). */
enum {
	REQ_TYPE = 1,
	REQ_OPTS = 2,
	REQ_NOTIFY_SUCCESS = 3,

	OPT_IMAGES_DIR_FD = 1,
	OPT_PID = 2,
	OPT_LEAVE_RUNNING = 3,
	OPT_EXT_UNIX_SK = 4,
	OPT_TCP_ESTABLISHED = 5,
	OPT_SHELL_JOB = 7,
	OPT_FILE_LOCKS = 8,
	OPT_LOG_LEVEL = 9,
	OPT_LOG_FILE = 10,
	OPT_PAGE_SERVER = 11,
	OPT_NOTIFY_SCRIPTS = 12,
	OPT_ROOT = 13,
	OPT_PARENT_IMG = 14,
	OPT_TRACK_MEM = 15,
	OPT_AUTO_DEDUP = 16,
	OPT_WORK_DIR_FD = 17,
	OPT_LINK_REMAP = 18,
	OPT_MANAGE_CGROUPS = 24,
	OPT_RST_SIBLING = 26,
	OPT_INHERIT_FD = 27,
	OPT_EXT_MASTERS = 30,
	OPT_MANAGE_CGROUPS_MODE = 34,
	OPT_GHOST_LIMIT = 35,
	OPT_EXTERNAL = 37,
	OPT_EMPTY_NS = 38,
	OPT_FREEZE_CGROUP = 44,
	OPT_SKIP_IN_FLIGHT = 46,
	OPT_LAZY_PAGES = 48,
	OPT_STATUS_FD = 49,
	OPT_ORPHAN_PTS_MASTER = 50,
	OPT_CONFIG_FILE = 51,
	OPT_TCP_CLOSE = 52,
	OPT_LSM_PROFILE = 53,
	OPT_LSM_MOUNT_CONTEXT = 63,
	OPT_NETWORK_LOCK = 64,
	OPT_MNTNS_COMPAT_MODE = 65,
	OPT_UNPRIVILEGED = 67,
	OPT_IMAGES_DIR = 68,
	OPT_LOG_TO_STDERR = 71,

	NETWORK_LOCK_NFTABLES = 2,
	NETWORK_LOCK_SKIP = 3,

	FD_KEY = 1,
	FD_NUMBER = 2,

	RESP_TYPE = 1,
	RESP_SUCCESS = 2,
	RESP_RESTORE = 4,
	RESP_NOTIFY = 5,
	RESP_ERRNO = 7,
	RESP_ERRMSG = 9,
	RESTORE_PID = 1,
	NOTIFY_SCRIPT = 1,
	NOTIFY_PID = 2,

	SERVER_ADDRESS = 1,
	SERVER_PORT = 2,

	TYPE_DUMP = 1,
	TYPE_RESTORE = 2,
	TYPE_NOTIFY = 6,
	TYPE_SINGLE_PRE_DUMP = 13,

	WIRE_VARINT = 0,
	WIRE_64 = 1,
	WIRE_BYTES = 2,
	WIRE_32 = 5,
};

/* ---- writing ---- */

struct rpc_out {
	unsigned char *at;
	size_t len, size; /* len goes on counting beyond size: too large, and nothing more is written */
};
void rpc_put(struct rpc_out *o, const void *data, size_t len);
void rpc_put_varint(struct rpc_out *o, uint64_t v);
void rpc_put_number(struct rpc_out *o, unsigned field, uint64_t v);
void rpc_put_bytes(struct rpc_out *o, unsigned field, const void *data, size_t len);
/* Nothing for NULL. */
void rpc_put_text(struct rpc_out *o, unsigned field, const char *text);
/* A message {FD_KEY: @key, FD_NUMBER: @fd} as OPT_INHERIT_FD. */
void rpc_put_inherited(struct rpc_out *o, const char *key, int fd);
/* The length; 0 when it was too much. */
size_t rpc_length(const struct rpc_out *o);

/* ---- reading ---- */

struct rpc_in {
	const unsigned char *at;
	size_t len;
};
struct rpc_field {
	unsigned number;
	uint64_t value;        /* a number */
	struct rpc_in content; /* bytes */
};
/* False at the end, and on anything that is no field: *ret_bad tells them apart. */
bool rpc_take_field(struct rpc_in *in, struct rpc_field *f, bool *ret_bad);
/* As much as fits, without control characters: it will stand in a message. */
void rpc_take_text(struct rpc_in in, char *to, size_t size);
