/* Stands for libraries that are to be reseeded; answers how often each of its functions was called. */
#include "out.h"

static int polled, seeded, seed_len, stirred;

__attribute__((visibility("default"))) int RAND_poll(void);
__attribute__((visibility("default"))) void RAND_seed(const void *bytes, int len);
__attribute__((visibility("default"))) void arc4random_stir(void);

int RAND_poll(void)
{
	polled++;
	return 0;
}

void RAND_seed(const void *bytes, int len)
{
	const unsigned char *b = bytes;

	seeded++;
	for (int i = 0; i < len; i++)
		seed_len += b[i] != 0; /* 256 to 1 for each */
}

void arc4random_stir(void)
{
	stirred++;
}

int fsbox_handler(fsbox_call *call)
{
	char text[64];

	(void)snprintf(text, sizeof text, "%d %d %d %d", polled, seeded, seed_len > 24, stirred);
	return fsbox_respond(call, text, strlen(text));
}
