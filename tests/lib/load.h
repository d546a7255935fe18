/* Load on fsboxd by raw sockets: messages made beforehand, answers not parsed, nothing allocated in a call, so that what is
 * measured is the daemon. What goes wrong ends the program. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOAD_CHUNK = 65536, LOAD_HEAD = 16384 };

struct load_conn {
	int fd;
	size_t head_len, got; /* of the answer: its first bytes that are kept, and all bytes */
	bool ended, open;     /* the answer; a call, for the caller's use */
	uint64_t due_ns;      /* the caller's, too */
	char head[LOAD_HEAD]; /* ends with a 0 byte */
};

extern char load_chunk[LOAD_CHUNK]; /* for one read */

_Noreturn void load_die(const char *what); /* with errno's text */
void *load_get(size_t n);                  /* zeroed */
uint64_t load_number(const char *word);    /* dies when it is none */
uint64_t load_now_ns(void);
void load_sort(double *x, size_t n);
double load_part(const double *sorted, size_t n, double p); /* 0.5: the median; 0 of none */

int load_knock(const char *path); /* a new connection */
/* A method's message, with its 0 byte in *ret_len; the parameters without their braces. The caller's. */
char *load_message(size_t *ret_len, const char *method, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Sends a message; @with: a descriptor that goes with it, or -1. */
void load_send(struct load_conn *to, const char *text, size_t len, int with);
/* One read. An answer ends with a 0 byte, or has @back bytes when that is not 0. Descriptors that come are closed. */
void load_take(struct load_conn *from, size_t back);
void load_wait(struct load_conn *from, size_t back);
bool load_is_error(const struct load_conn *from);
/* Of an answer that is no error: the text behind @key (with its quotes, colon and first quote). */
void load_member(const struct load_conn *from, const char *key, char *ret, size_t size);
