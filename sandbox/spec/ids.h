/* A map of user_namespaces(7): one line "inside outside count". */
#pragma once

#include <stdint.h>

struct id_map {
	uint32_t inside, outside, count;
};
