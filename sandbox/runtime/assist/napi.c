/* assist.so as an addon of Node.js: an object with functions. Of Node-API, whose C ABI is stable from version to version,
 * only what is used here is declared; the names are the program's, and stay unresolved where another one loads it. */
#include "runtime/assist/assist.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

typedef struct napi_env_s *napi_env;
typedef struct napi_value_s *napi_value;
typedef struct napi_callback_info_s *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env env, napi_callback_info info);

#define NODE_API __attribute__((weak)) int

NODE_API napi_create_function(napi_env env, const char *name, size_t len, napi_callback fn, void *data,
			      napi_value *result);
NODE_API napi_set_named_property(napi_env env, napi_value object, const char *name, napi_value value);
NODE_API napi_get_cb_info(napi_env env, napi_callback_info info, size_t *argc, napi_value *argv, napi_value *self,
			  void **data);
NODE_API napi_get_buffer_info(napi_env env, napi_value value, void **data, size_t *length);
NODE_API napi_get_value_bool(napi_env env, napi_value value, bool *result);
NODE_API napi_get_value_int64(napi_env env, napi_value value, int64_t *result);
NODE_API napi_create_int64(napi_env env, int64_t value, napi_value *result);

static napi_value number(napi_env env, int64_t n)
{
	napi_value v = NULL;

	(void)napi_create_int64(env, n, &v);
	return v;
}

/* The arguments; those that were not given are `undefined`. */
static void take(napi_env env, napi_callback_info info, napi_value args[static 2])
{
	size_t n = 2;

	(void)napi_get_cb_info(env, info, &n, args, NULL, NULL);
}

/* Without a channel the interpreter has given its numbers to descriptors of its own. */
static bool is_pipe(int fd, int direction)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && (fcntl(fd, F_GETFL) & O_ACCMODE) == direction;
}

/* own(): the channel is not for programs that the function executes. 0 or -errno. */
static napi_value own(napi_env env, napi_callback_info info)
{
	(void)info;
	if (!is_pipe(CHAN_FD_IN, O_RDONLY) || !is_pipe(CHAN_FD_OUT, O_WRONLY))
		return number(env, -EBADF);
	if (fcntl(CHAN_FD_IN, F_SETFD, FD_CLOEXEC) < 0 || fcntl(CHAN_FD_OUT, F_SETFD, FD_CLOEXEC) < 0)
		return number(env, -errno);
	return number(env, 0);
}

/* filter(buffer): 0 or -errno. */
static napi_value filter(napi_env env, napi_callback_info info)
{
	napi_value args[2] = {NULL, NULL};
	void *data;
	size_t len;

	take(env, info, args);
	if (napi_get_buffer_info(env, args[0], &data, &len) != 0)
		return number(env, -EINVAL);
	return number(env, fsbox_assist_filter(data, len / 8));
}

/* call(number) */
static napi_value call(napi_env env, napi_callback_info info)
{
	napi_value args[2] = {NULL, NULL};
	int64_t n = 0;

	take(env, info, args);
	(void)napi_get_value_int64(env, args[0], &n);
	fsbox_assist_call((uint64_t)n);
	return NULL;
}

/* prepare() */
static napi_value prepare(napi_env env, napi_callback_info info)
{
	(void)env;
	(void)info;
	fsbox_assist_prepare();
	return NULL;
}

/* reseed(keepSeeds): 0 or -errno. */
static napi_value renew(napi_env env, napi_callback_info info)
{
	napi_value args[2] = {NULL, NULL};
	bool keep = false;

	take(env, info, args);
	(void)napi_get_value_bool(env, args[0], &keep);
	return number(env, fsbox_assist_reseed(keep));
}

/* draw(buffer of 4,096, keepSeeds): how many bytes of it are used. */
static napi_value draw(napi_env env, napi_callback_info info)
{
	napi_value args[2] = {NULL, NULL};
	bool keep = false;
	void *data;
	size_t len;

	take(env, info, args);
	(void)napi_get_value_bool(env, args[1], &keep);
	if (napi_get_buffer_info(env, args[0], &data, &len) != 0 || len < CHAN_MAX_DRAWN)
		return number(env, 0);
	return number(env, (int64_t)fsbox_assist_draw(data, keep));
}

/* Names that Node looks for in a library. */
__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void);
__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports);

int32_t node_api_module_get_api_version_v1(void)
{
	return 8; /* Node 12.22 and newer */
}

napi_value napi_register_module_v1(napi_env env, napi_value exports)
{
	static const struct {
		const char *name;
		napi_callback fn;
	} functions[] = {
		{"own", own},         {"filter", filter}, {"call", call},
		{"prepare", prepare}, {"reseed", renew},  {"draw", draw},
	};

	for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
		napi_value fn;

		if (napi_create_function(env, functions[i].name, SIZE_MAX, functions[i].fn, NULL, &fn) != 0 ||
		    napi_set_named_property(env, exports, functions[i].name, fn) != 0)
			return NULL;
	}
	return exports;
}
