/* Twins with OpenSSL and libuuid linked to the function. */
/* libs: libssl libcrypto uuid */
#include "twin.h"

#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <uuid/uuid.h>

int fsbox_init(void)
{
	unsigned char b[16];
	uuid_t id;

	uuid_generate(id);
	OPENSSL_init_ssl(0, NULL);
	return RAND_bytes(b, sizeof b) == 1 && RAND_priv_bytes(b, sizeof b) == 1 ? twin_start() : 1;
}

int fsbox_handler(fsbox_call *call)
{
	return fsbox_respond(call, "", 0);
}
