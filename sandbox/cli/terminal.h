/* A full-screen view on the terminal of stdin and stdout: ECMA-48's sequences and no library. What was changed is put back
 * by terminal_close(), and on the screen stands again what stood there before. */
#pragma once

#include "base/str.h"

#include <termios.h>

struct terminal {
	struct termios before;
};

/* False, with nothing changed, when there is no terminal at both ends. */
bool terminal_open(struct terminal *t);
void terminal_close(const struct terminal *t);

/* The lines of @text, cut to the screen's size, as one write that replaces the picture before. */
void terminal_frame(struct buf *b, const char *text);

/* Reads what was typed: did somebody press q, or has the terminal gone? */
bool terminal_quits(void);
