/* What `enter` says to the host: nothing, or why the command could not be executed. */
#pragma once

#include <stdint.h>

enum { ENTER_FD = 3, ENTER_MAGIC = 0x72746e65 };

struct enter_word {
	uint32_t magic;
	int32_t code; /* errno of execve(2) */
};
