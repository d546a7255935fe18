/* What the network lets it reach: {"loopback":errno of a connection to itself over 127.0.0.1,"world":errno of sending to
 * 192.0.2.1,"routes":lines of the routing table,"abstract":errno of connecting to the abstract socket that the event
 * names}. */
#include "out.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int loopback(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int code = 0;

	if (bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 1) < 0 ||
	    getsockname(s, (struct sockaddr *)&a, &len) < 0 || connect(c, (struct sockaddr *)&a, sizeof a) < 0)
		code = errno;
	(void)close(s);
	(void)close(c);
	return code;
}

static int world(void)
{
	/* TEST-NET-1 of RFC 5737: nobody is there, but without a route not even the sending works */
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0xc0000201)};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int code = sendto(s, "x", 1, 0, (struct sockaddr *)&a, sizeof a) < 0 ? errno : 0;

	(void)close(s);
	return code;
}

static int routes(void)
{
	FILE *f = fopen("/proc/net/route", "re");
	char line[512];
	int n = -1; /* the head */

	while (f && fgets(line, sizeof line, f))
		n++;
	if (f)
		(void)fclose(f);
	return n;
}

static int abstract_socket(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t len = strcspn(name, "\"");
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), code;

	if (len > sizeof a.sun_path - 1)
		len = sizeof a.sun_path - 1;
	memcpy(a.sun_path + 1, name, len);
	code = connect(s, (struct sockaddr *)&a, (socklen_t)(sizeof a.sun_family + 1 + len)) < 0 ? errno : 0;
	(void)close(s);
	return code;
}

int fsbox_handler(fsbox_call *call)
{
	const char *event = fsbox_event(call, NULL);
	struct out o = {0};

	out_bytes(&o, "{", 1);
	out_number(&o, "loopback", loopback());
	out_number(&o, "world", world());
	out_number(&o, "routes", routes());
	if (event[0] == '"')
		out_number(&o, "abstract", abstract_socket(event + 1));
	out_bytes(&o, "}", 1);
	return out_answer(call, &o);
}
