/* What fsbox-oci says to fsbox-scope, which speaks to systemd for it: the arguments of one command, and the answer on its
 * standard output.
 *
 *   fsbox-scope start  MANAGER UNIT PROPERTY...   makes the scope; the answer is its group's path
 *   fsbox-scope set    MANAGER UNIT PROPERTY...   changes it, until it ends
 *   fsbox-scope attach MANAGER UNIT PID           moves a process into it
 *   fsbox-scope stop   MANAGER UNIT               ends it; one that is not there is no failure
 *
 * MANAGER is "system" or "user". A PROPERTY is several words, as busctl(1) takes them: NAME SIGNATURE VALUE..., where
 * an array begins with the number of its elements; NAME@VERSION is passed over by older managers. Exit status 0: the
 * answer. 1: one line that says why not; a start has left nothing then. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SCOPE_MAX_NAME = 100,     /* of a property */
	SCOPE_MAX_UNIT = 255,     /* systemd.unit(5) */
	SCOPE_MAX_ANSWER = 4096,  /* bytes */
	SCOPE_MAX_WORDS = 100000, /* of all properties */
};

/* Words of a property as they stand in the list. */
struct scope_property {
	char name[SCOPE_MAX_NAME + 1]; /* without the version */
	unsigned since;                /* of systemd; 0: any */
	const char *signature;         /* "t", "as", "a(ss)" */
	const char *element;           /* its letters inside of an array; "" for one value */
	size_t n_element;              /* letters */
	size_t count;                  /* of elements; 1 for one value */
	const char *const *values;
};

/* One value of a basic type (D-Bus specification, "Basic types"; the letters b y n q i u x t d s o). */
union scope_value {
	int b;
	uint8_t y;
	int16_t n;
	uint16_t q;
	int32_t i;
	uint32_t u;
	int64_t x;
	uint64_t t;
	double d;
	const char *s; /* o as well; borrowed */
};

/* False when @word is no value of @type. Decimal numbers only; texts are UTF-8. */
bool scope_value_read(char type, const char *word, union scope_value *ret);
/* How many of the @n words the first property takes; 0 when they are none. */
size_t scope_property_read(const char *const *words, size_t n, struct scope_property *ret);
