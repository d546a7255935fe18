#include "oci/oci.h"

#include <errno.h>
#include <signal.h>
#include <strings.h>

int oci_signal(const char *text)
{
	uint64_t n;

	if (parse_u64(text, 1, (uint64_t)SIGRTMAX, &n))
		return (int)n;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	if (strcasecmp(text, "CLD") == 0)
		return SIGCHLD;
	if (strcasecmp(text, "IOT") == 0)
		return SIGABRT;
	if (strcasecmp(text, "POLL") == 0)
		return SIGIO;
	if (strncasecmp(text, "RTMIN+", 6) == 0 && parse_u64(text + 6, 0, (uint64_t)(SIGRTMAX - SIGRTMIN), &n))
		return SIGRTMIN + (int)n;
	if (strcasecmp(text, "RTMIN") == 0)
		return SIGRTMIN;
	for (int sig = 1; sig < 32; sig++) {
		const char *name = sigabbrev_np(sig);

		if (name && strcasecmp(name, text) == 0)
			return sig;
	}
	return -EINVAL;
}
