/* Cells, for the faces: everything that a process which runs functions needs.
 *
 *   build.h    cell_host, cell: from plan to release, by stages
 *   enter.h    one more process, in a cell that runs
 *   code.h     the function's code, opened and looked at
 *   session.h  the conversation with the runtime of one cell
 *   outcome.h  what the end of an init, a restore or a call means, in Lambda's words
 *   invoke.h   calls with Lambda's rules, over one cell at a time
 *   policy.h   from the name of a policy to its filters
 *   function.h a function as fsbox-spawn gets it
 *   publish.h  snapshots: making one, and the first word to its clones
 *
 *   container.h  beside these: OCI containers, built by stages of their own over the same mechanisms
 *   checkpoint.h their checkpoint and restore
 *
 * Each layer uses only those above it in this list. Nothing in this folder prints. */
#pragma once

#include "cell/build.h"
#include "cell/checkpoint.h"
#include "cell/code.h"
#include "cell/container.h"
#include "cell/enter.h"
#include "cell/function.h"
#include "cell/invoke.h"
#include "cell/outcome.h"
#include "cell/policy.h"
#include "cell/publish.h"
#include "cell/session.h"
