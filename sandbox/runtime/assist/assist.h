/* What every runtime needs that shares its process with a function, and that only C can do: randomness in memory made
 * fresh after a restore, values drawn from it to compare clones, filters that come after init.
 *
 * Linked into the runtime for shared objects (native/), and built as a library of its own, assist.so, which interpreters
 * load when they are first asked for one of these: most cells never are. The library exports the functions of the last
 * section alone; all its state is the process's, so it must be loaded once. */
#pragma once

#include "runtime/channel.h"

/* ---- reseed.c: randomness that lies in memory, and would be the same in every clone ---- */

/* Before a dump: wipes what the kernel would wipe for a child of fork(2), and starts what reseed() would otherwise have to
 * start in each clone. */
void reseed_prepare(void);

/* After a restore. 0 or -errno. */
int reseed(bool keep_seeds);

/* @len random bytes from the kernel, past every buffer. 0 or -errno. */
int reseed_bytes(void *dst, size_t len);

/* ---- loaded.c: the objects of the process ---- */

/* Calls @fn for the program itself and every loaded object, however it was loaded. The handle is good for dlsym(3) while
 * @fn runs; the program's finds what is in the global scope, so a function is met more than once. 0 or -ENOMEM. */
int loaded_each(void (*fn)(void *handle, void *arg), void *arg);

/* Functions that were met already: different objects lead to the same ones. */
struct loaded_seen {
	void *at[16];
	size_t n;
};

/* dlsym(3) of a function. NULL when there is none, or when @seen, which may be NULL, has it already. */
void *loaded_symbol(void *handle, const char *name, struct loaded_seen *seen);

/* ---- draw.c ---- */

/* Draws from every source that the process has. Writes a body of DRAWN to @dst, which has room for CHAN_MAX_DRAWN bytes,
 * and returns its length. */
size_t draw_all(uint8_t *dst, bool keep_seeds);

/* ---- fault.c: filters that come after init ---- */

struct sock_filter;

/* Installs @n instructions in all threads; a system call that they refuse with SIGSYS is named to the host by a FAULT
 * frame. 0 or -errno, -EBUSY when a thread has filters of its own. */
int fault_install(struct sock_filter *insns, size_t n);

/* The number of the call that is running, for FAULT. */
void fault_set_call(uint64_t number);

/* ---- library.c: the face of assist.so, for foreign function interfaces ---- */

/* A FILTER's body, @n_insns times 8 bytes at any address. 0 or -errno. */
int fsbox_assist_filter(const void *insns, size_t n_insns);
/* The number of the call that begins (0: none runs), for FAULT. */
void fsbox_assist_call(uint64_t number);
/* As reseed_prepare(), reseed(), draw_all(); @dst has room for CHAN_MAX_DRAWN (4,096) bytes. */
void fsbox_assist_prepare(void);
int fsbox_assist_reseed(int keep_seeds);
size_t fsbox_assist_draw(void *dst, int keep_seeds);
