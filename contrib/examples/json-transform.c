/* Transforms JSON with jansson: order lines become totals per customer, largest first.
 *
 *     {"orders":[{"customer":"ada","price":2.5,"count":4},{"customer":"bob","price":3,"count":1}]}
 *     {"customers":[{"customer":"ada","total":10.0,"orders":1},{"customer":"bob","total":3.0,"orders":1}]}
 */
/* libs: jansson */
#include <fsbox.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct total {
	const char *customer; /* belongs to the event's JSON */
	double sum;
	long long orders;
};

static int larger_first(const void *a, const void *b)
{
	const struct total *x = a, *y = b;

	return (x->sum < y->sum) - (x->sum > y->sum);
}

/* Adds one order to the totals, of which there are *n. False when the order is not as it should be. */
static int add_order(json_t *order, struct total *totals, size_t *n)
{
	const char *customer;
	double price;
	json_int_t count;
	size_t i;

	if (json_unpack(order, "{s:s, s:F, s:I}", "customer", &customer, "price", &price, "count", &count) < 0)
		return 0;
	for (i = 0; i < *n && strcmp(totals[i].customer, customer) != 0; i++)
		;
	if (i == *n)
		totals[(*n)++] = (struct total){.customer = customer};
	totals[i].sum += price * (double)count;
	totals[i].orders++;
	return 1;
}

static int answer(fsbox_call *call, const struct total *totals, size_t n)
{
	json_t *list = json_array(), *doc = json_pack("{s:o}", "customers", list);
	char *text = NULL;
	int r = -1;

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list, json_pack("{s:s, s:f, s:I}", "customer", totals[i].customer, "total",
							    totals[i].sum, "orders", (json_int_t)totals[i].orders));
	text = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(12));
	if (text)
		r = fsbox_respond(call, text, strlen(text));
	free(text);
	json_decref(doc);
	return r;
}

int fsbox_handler(fsbox_call *call)
{
	size_t len, i, n = 0;
	const char *event = fsbox_event(call, &len);
	json_error_t where;
	json_t *doc = json_loadb(event, len, JSON_REJECT_DUPLICATES, &where), *order;
	json_t *orders = json_object_get(doc, "orders");
	struct total *totals = calloc(json_array_size(orders) + 1, sizeof *totals);
	int r = 0;

	if (!doc)
		r = fsbox_fail(call, "Orders.BadJson", where.text);
	else if (!json_is_array(orders) || !totals)
		r = fsbox_fail(call, "Orders.BadEvent", "expected {\"orders\":[...]}");
	json_array_foreach(orders, i, order) {
		if (r == 0 && !add_order(order, totals, &n))
			r = fsbox_fail(call, "Orders.BadOrder", "an order needs customer, price and count");
	}
	if (r == 0) {
		qsort(totals, n, sizeof *totals, larger_first);
		r = answer(call, totals, n);
	}
	free(totals);
	json_decref(doc);
	return r;
}
