/* Private to snapshot/: what an image cannot hold, or must not. Judging is separate from reading: texts as /proc has them
 * and tables go in, 0 or -EOPNOTSUPP with the sentence comes out. Texts are the function's: bounded, shown with care.
 *
 * What CRIU 4.2 does with each thing was tried with tests/functions/snap_hold.c; docs of the formats are in proc(5). */
#pragma once

#include "base/str.h"

#include <sys/types.h>

enum look_kind {
	LOOK_PIPE,
	LOOK_UNIX,
	LOOK_TCP,
	LOOK_UDP,
	LOOK_HELD, /* a socket that a process to be dumped has a descriptor of */
	LOOK_TASK, /* such a process; ino is its pid on the host */
};

enum {
	LOOK_READS = 1, /* ends of a pipe that are open in the cell */
	LOOK_WRITES = 2,
	LOOK_CHANNEL = 4, /* one of the pipes that each clone gets afresh */
	LOOK_LISTENS = 8,
	LOOK_CONNECTED = 16,
	LOOK_ABSTRACT = 32,     /* bound to a name that is no file */
	LOOK_WAITING = 64,      /* connected, but not accepted yet */
	LOOK_ESTABLISHED = 128, /* of TCP: both directions are open */
};

struct look_node {
	enum look_kind kind;
	uint32_t flags;
	uint64_t ino;
	uint64_t peer;              /* LOOK_UNIX: inode of the other end, 0 for none */
	uint32_t queue;             /* connections or bytes that nobody has taken */
	char local[40], remote[40]; /* address:port in hexadecimal, as /proc/net/tcp has them */
};

/* Tables of the whole cell, sorted by kind and number once they are complete. */
struct look {
	struct look_node *nodes;
	size_t n, cap;
	bool host_net;
};
void look_done(struct look *l);
NODISCARD int look_add(struct look *l, const struct look_node *node, struct err *e);
/* Equal entries become one, their flags added up. */
void look_sort(struct look *l);
const struct look_node *look_find(const struct look *l, enum look_kind kind, uint64_t ino);

/* Text of /proc/PID/net/tcp, tcp6, udp, udp6. */
NODISCARD int look_add_inet(struct look *l, enum look_kind kind, const char *text, struct err *e);
/* Answers of sock_diag(7) about unix sockets, one or more messages. 1: there are more to come. */
NODISCARD int look_add_unix(struct look *l, const void *data, size_t len, struct err *e);

/* "127.0.0.1:80" */
enum { LOOK_ADDRESS = 64 };
void look_address(const char *hex, char ret[LOOK_ADDRESS]);
/* Does what is sent to @remote arrive at a socket that is bound to @local? */
bool look_reaches(const char *remote, const char *local);
/* Are they the same address and port? An IPv4 address is that also when it is written as an IPv6 one. */
bool look_same_address(const char *a, const char *b);

/* Whose fault it is, in a message. */
struct look_who {
	pid_t pid;     /* inside the cell */
	char comm[16]; /* terminated */
	int fd;        /* -1: not about a descriptor */
};

struct look_file {
	const char *link;   /* of /proc/PID/fd/N */
	const char *fdinfo; /* of /proc/PID/fdinfo/N */
	const char *proto;  /* of a socket: its attribute system.sockprotoname, "" when there is none */
	mode_t mode;        /* of what stat(2) says of it, as the next two */
	dev_t rdev;
	nlink_t nlink;
};
/* First pass: what the tables must know of a descriptor. */
NODISCARD int look_add_fd(struct look *l, const struct look_file *f, struct err *e);
/* Second pass. @mountinfo: the process's. */
NODISCARD int look_fd(const struct look *l, const struct look_who *who, const struct look_file *f,
		      const char *mountinfo, struct err *e);

/* Text of /proc/PID/maps. */
NODISCARD int look_maps(const struct look_who *who, const char *maps, struct err *e);
/* Text of /proc/PID/task/TID/status. @filters: how many seccomp filters PID 1 has, -1 when the kernel does not tell. */
NODISCARD int look_status(const struct look_who *who, const char *status, int filters, struct err *e);
/* Text of /proc/sysvipc/@what: "shm", "sem", "msg". */
NODISCARD int look_sysvipc(const char *what, const char *text, struct err *e);

/* A decimal number after "KEY:" at the beginning of a line; for several numbers the one at @index. */
NODISCARD bool look_number(const char *text, const char *key, unsigned index, int64_t *ret);

/* -EOPNOTSUPP with "process 2 (native): descriptor 7 …" and the remedy. */
int look_refuse(const struct look_who *who, struct err *e, const char *remedy, const char *fmt, ...) PRINTF(4, 5);
