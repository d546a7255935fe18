/* Answers everything that fsbox.h tells a function. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	const char *trace_env = secure_getenv("_X_AMZN_TRACE_ID");
	struct out o = {0};

	out_text(&o, "{");
	out_pair(&o, "name", fsbox_function_name());
	out_pair(&o, "version", fsbox_function_version());
	out_number(&o, "memoryMB", fsbox_memory_mb());
	out_pair(&o, "requestId", fsbox_request_id(call));
	out_pair(&o, "traceId", fsbox_trace_id(call));
	if (trace_env)
		out_pair(&o, "traceEnv", trace_env);
	out_text(&o, "}");
	return out_answer(call, &o);
}
