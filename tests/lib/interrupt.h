/* Runs a function in a child that dies, or whose system call fails, at a chosen point.
 *
 * The child is traced (ptrace(2)): its calls on files are counted, and at the chosen one it is killed before the call is
 * made, or the call is not made and has failed. The program itself knows nothing of it, so what is tested is what runs, and
 * no call can be forgotten. */
#pragma once

#include <stdbool.h>

enum interrupt_set {
	INTERRUPT_CHANGES, /* calls that change what a later process finds: create, write, sync, rename, remove, chmod */
	INTERRUPT_ALL,     /* and those that open, read and list */
};

enum interrupt_end {
	INTERRUPT_DONE,       /* it made fewer such calls and ended by itself */
	INTERRUPT_REACHED,    /* it was killed there, or went on after the failed call and ended */
	INTERRUPT_IMPOSSIBLE, /* nothing may be traced here */
};

/* Calls @fn in a child that ends with its result. @at counts from 1. @error 0: the child is killed. @ret_status: what it
 * ended with, -1 when it was killed. Aborts when the child dies by itself. */
enum interrupt_end interrupt_run(int (*fn)(void *arg), void *arg, enum interrupt_set set, unsigned at, int error,
				 int *ret_status);
