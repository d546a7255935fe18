/* Files of which a program writes parts: what stands between two lines, in whatever the file's comments look like,
 *
 *     PROGRAM: begin KIND
 *     PROGRAM: end
 *
 * is the program's, the rest is written by hand. For the tools that keep documents equal to tables. */
#pragma once

#include "base/str.h"

/* Appends what belongs into a region of this kind; false when there is no such kind. */
typedef bool regions_generate(struct buf *b, const char *kind);

/* main() of "PROGRAM [--check] FILE...": brings the regions of the files up to date. With --check nothing is changed, and a
 * file that is behind makes the status 1. 2: bad usage. */
int regions_main(const char *program, int argc, char **argv, regions_generate *generate);
