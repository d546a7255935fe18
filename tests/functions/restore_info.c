/* Answers what it was told by the restore, and what it sees of it. */
#include "out.h"

#include <errno.h>
#include <unistd.h>

static struct fsbox_restore info;
static char clone_id[32], stream_in_hook[64];
static unsigned memory_in_hook, random_sum;

int fsbox_after_restore(const struct fsbox_restore *restore)
{
	const char *stream = getenv("AWS_LAMBDA_LOG_STREAM_NAME");

	info = *restore;
	(void)snprintf(clone_id, sizeof clone_id, "%s", restore->clone_id);
	(void)snprintf(stream_in_hook, sizeof stream_in_hook, "%s", stream ? stream : "");
	memory_in_hook = fsbox_memory_mb();
	for (size_t i = 0; i < sizeof restore->random; i++)
		random_sum += restore->random[i];
	return 0;
}

int fsbox_handler(fsbox_call *call)
{
	const char *type = getenv("AWS_LAMBDA_INITIALIZATION_TYPE"), *stream = getenv("AWS_LAMBDA_LOG_STREAM_NAME");
	struct out o = {0};
	size_t n = 0;
	int r;

	while (environ[n])
		n++;
	out_bytes(&o, "{", 1);
	out_number(&o, "generation", (long long)info.generation);
	out_pair(&o, "cloneId", clone_id);
	out_number(&o, "randomSum", random_sum);
	out_number(&o, "wall", info.wall_ns);
	out_number(&o, "elapsed", info.elapsed_ns);
	out_number(&o, "memoryInHook", memory_in_hook);
	out_number(&o, "memory", fsbox_memory_mb());
	out_pair(&o, "name", fsbox_function_name());
	out_pair(&o, "streamInHook", stream_in_hook);
	out_pair(&o, "stream", stream ? stream : "");
	out_pair(&o, "type", type ? type : "");
	if (event_has(call, "set")) { /* the environment can still be changed in the ordinary way */
		(void)setenv("FSBOX_TEST", "x", 1);
		out_pair(&o, "set", getenv("FSBOX_TEST"));
	}
	out_number(&o, "variables", (long long)n);
	out_bytes(&o, "}", 1);
	r = fsbox_respond(call, o.data, o.len);
	free(o.data);
	return r;
}
