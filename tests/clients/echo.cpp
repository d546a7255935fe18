// A custom runtime on aws-lambda-cpp, as that library's own examples have it.
#include <aws/lambda-runtime/runtime.h>

#include <chrono>
#include <string>
#include <thread>

using namespace aws::lambda_runtime;

static invocation_response handler(const invocation_request &request)
{
	if (request.payload == "\"fail\"")
		return invocation_response::failure("as asked", "Own.Type", "");
	if (request.payload == "\"big\"")
		return invocation_response::success("\"" + std::string(6291454, 'x') + "\"", "application/json");
	if (request.payload == "\"sleep\"")
		std::this_thread::sleep_for(std::chrono::seconds(60));
	return invocation_response::success(request.payload, "application/json");
}

int main()
{
	run_handler(handler);
	return 0;
}
