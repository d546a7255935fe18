/* Twins with an OpenSSL that the function has opened for itself. */
#include "twin.h"

#include <dlfcn.h>

int fsbox_init(void)
{
	void *lib = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
	int (*bytes)(unsigned char *, int), (*priv_bytes)(unsigned char *, int);
	unsigned char b[16];

	if (!lib)
		return 1;
	*(void **)&bytes = dlsym(lib, "RAND_bytes");
	*(void **)&priv_bytes = dlsym(lib, "RAND_priv_bytes");
	return bytes(b, sizeof b) == 1 && priv_bytes(b, sizeof b) == 1 ? twin_start() : 1;
}

int fsbox_handler(fsbox_call *call)
{
	return fsbox_respond(call, "", 0);
}
