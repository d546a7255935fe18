/* The interface that every varlink service has (varlink.org, "Service"). */
#include "wire/varlink.h"

static const struct wire_method methods[] = {
	{
		.name = "GetInfo",
		.doc = "Who serves here, and which interfaces.",
		.out = WIRE_FIELDS({.name = "vendor", .type = WIRE_STRING}, {.name = "product", .type = WIRE_STRING},
				   {.name = "version", .type = WIRE_STRING}, {.name = "url", .type = WIRE_STRING},
				   {.name = "interfaces", .type = WIRE_STRING, .flags = WIRE_ARRAY}),
		.id = WIRE_GET_INFO,
	},
	{
		.name = "GetInterfaceDescription",
		.doc = "The text of an interface.",
		.in = WIRE_FIELDS({.name = "interface", .type = WIRE_STRING}),
		.out = WIRE_FIELDS({.name = "description", .type = WIRE_STRING}),
		.id = WIRE_GET_INTERFACE_DESCRIPTION,
	},
	{.name = NULL},
};

static const struct wire_error errors[] = {
	{
		.name = "InterfaceNotFound",
		.doc = "There is no such interface here.",
		.fields = WIRE_FIELDS({.name = "interface", .type = WIRE_STRING}),
	},
	{
		.name = "MethodNotFound",
		.doc = "The interface has no such method.",
		.fields = WIRE_FIELDS({.name = "method", .type = WIRE_STRING}),
	},
	{
		.name = "MethodNotImplemented",
		.doc = "The method is defined and not served.",
		.fields = WIRE_FIELDS({.name = "method", .type = WIRE_STRING}),
	},
	{
		.name = "InvalidParameter",
		.doc = "The parameter is unknown, missing, of a wrong type or out of range.",
		.fields = WIRE_FIELDS({.name = "parameter", .type = WIRE_STRING}),
	},
	{.name = "PermissionDenied", .doc = "The caller may not call this."},
	{.name = "ExpectedMore", .doc = "The method answers several times: the call has to say \"more\"."},
	{.name = NULL},
};

const struct wire_interface wire_service = {
	.name = "org.varlink.service",
	.doc = "What every service has.",
	.methods = methods,
	.errors = errors,
};
