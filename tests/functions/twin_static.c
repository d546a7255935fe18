/* Twins with OpenSSL inside of the function. */
/* link: -l:libcrypto.a */
#include "twin.h"

#include <openssl/rand.h>

int fsbox_init(void)
{
	unsigned char b[16];

	return RAND_bytes(b, sizeof b) == 1 && RAND_priv_bytes(b, sizeof b) == 1 ? twin_start() : 1;
}

int fsbox_handler(fsbox_call *call)
{
	return fsbox_respond(call, "", 0);
}
