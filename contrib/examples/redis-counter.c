/* Counts in a Redis: connects in init, lets go of the connection before a snapshot, and connects anew in every clone. Needs
 * --net host; REDIS_ADDRESS is "HOST:PORT" with a numeric IPv4 address (default 127.0.0.1:6379). The event is the name of
 * the counter.
 *
 * Without the two hooks there could be no snapshot: a connection has another end, and that end cannot be in many clones'
 * talk at once. */
#include <fsbox.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { NAME_MAX_LEN = 64, WAIT_S = 2 };

static int redis = -1;

static int connect_to_redis(void)
{
	const char *address = getenv("REDIS_ADDRESS");
	struct sockaddr_in to = {.sin_family = AF_INET};
	const struct timeval patience = {.tv_sec = WAIT_S};
	char host[64];
	unsigned port;

	if (sscanf(address ? address : "127.0.0.1:6379", "%63[0-9.]:%u", host, &port) != 2 || port > 65535 ||
	    inet_pton(AF_INET, host, &to.sin_addr) != 1) {
		printf("REDIS_ADDRESS is not HOST:PORT\n");
		return -1;
	}
	to.sin_port = htons((unsigned short)port);
	redis = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (redis < 0 || setsockopt(redis, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
	    connect(redis, (const struct sockaddr *)&to, sizeof to) < 0) {
		printf("connecting to Redis at %s port %u: %s\n", host, port, strerror(errno));
		return -1;
	}
	printf("connected to Redis at %s port %u\n", host, port);
	return 0;
}

int fsbox_init(void)
{
	return connect_to_redis();
}

#ifndef WITHOUT_HOOKS
int fsbox_before_snapshot(void)
{
	int r = close(redis);

	redis = -1;
	return r;
}

int fsbox_after_restore(const struct fsbox_restore *restore)
{
	printf("clone %s connects\n", restore->clone_id);
	return connect_to_redis();
}
#endif

/* One request and its answer, which for INCR is ":NUMBER\r\n" (redis.io/docs, protocol specification). */
static int increment(const char *name, long *ret)
{
	char text[NAME_MAX_LEN + 64];
	int n = snprintf(text, sizeof text, "*2\r\n$4\r\nINCR\r\n$%zu\r\n%s\r\n", strlen(name), name);
	size_t have = 0;

	if (write(redis, text, (size_t)n) != n)
		return -1;
	while (have == 0 || text[have - 1] != '\n') {
		ssize_t got = read(redis, text + have, sizeof text - 1 - have);

		if (got <= 0)
			return -1;
		have += (size_t)got;
	}
	text[have] = '\0';
	return text[0] == ':' && sscanf(text + 1, "%ld", ret) == 1 ? 0 : -1;
}

int fsbox_handler(fsbox_call *call)
{
	size_t len;
	const char *event = fsbox_event(call, &len);
	char name[NAME_MAX_LEN + 1] = "counter", answer[64];
	long count;
	int n;

	if (sscanf(event, "\"%64[a-z0-9:-]\"", name) != 1 && len > 2)
		return fsbox_fail(call, "Counter.BadName",
				  "the event is the counter's name: \"a-z 0-9 : -\", at most 64");
	if (increment(name, &count) < 0)
		return fsbox_fail(call, "Counter.NoRedis", "Redis did not answer as it should");
	n = snprintf(answer, sizeof answer, "{\"count\":%ld}", count);
	return fsbox_respond(call, answer, (size_t)n);
}
