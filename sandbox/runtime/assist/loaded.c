/* Every object of the process, also one that was opened with RTLD_LOCAL or is part of the function. (Not those of other
 * namespaces, dlmopen(3): nothing tells their names.) */
#include "runtime/assist/assist.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

struct names {
	char *text; /* one behind the other, each terminated */
	size_t len, cap;
	bool failed;
};

static int add_name(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct names *n = arg;
	size_t len = strlen(info->dlpi_name) + 1;

	(void)size;
	if (len == 1 || n->failed) /* the program has no name */
		return 0;
	if (n->cap - n->len < len) {
		size_t cap = (n->len + len) * 2 + 2048;
		char *text = realloc(n->text, cap);

		n->failed = !text;
		if (n->failed)
			return 1;
		n->text = text;
		n->cap = cap;
	}
	memcpy(n->text + n->len, info->dlpi_name, len);
	n->len += len;
	return 0;
}

int loaded_each(void (*fn)(void *handle, void *arg), void *arg)
{
	struct names n = {0};
	void *program = dlopen(NULL, RTLD_LAZY);

	/* It may have a library linked into it, and still export that library's functions, as some builds of node do. */
	if (program) {
		fn(program, arg);
		(void)dlclose(program);
	}
	/* Names first: a lock of the loader is held meanwhile, and dlopen() wants another one before that one. */
	(void)dl_iterate_phdr(add_name, &n);
	for (size_t at = 0; !n.failed && at < n.len; at += strlen(n.text + at) + 1) {
		/* By the name under which it is known, so that no file is looked at; NULL when it has just gone. */
		void *handle = dlopen(n.text + at, RTLD_LAZY | RTLD_NOLOAD);

		if (handle) {
			fn(handle, arg);
			(void)dlclose(handle);
		}
	}
	free(n.text);
	return n.failed ? -ENOMEM : 0;
}

void *loaded_symbol(void *handle, const char *name, struct loaded_seen *seen)
{
	void *p = dlsym(handle, name);

	for (size_t i = 0; p && seen && i < seen->n; i++)
		if (seen->at[i] == p)
			return NULL;
	if (p && seen && seen->n < sizeof seen->at / sizeof seen->at[0])
		seen->at[seen->n++] = p;
	return p;
}
