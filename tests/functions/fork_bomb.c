/* Every process forks for ever. Only for cells with a limit on processes. */
#include "out.h"

#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	if (!in_cell())
		return not_in_cell(call);
	for (;;)
		(void)!fork();
}
