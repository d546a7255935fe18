/* Needs a function that nothing defines. */
#include "out.h"

int fsbox_test_nobody_defines_this(void);

int fsbox_handler(fsbox_call *call)
{
	(void)call;
	return fsbox_test_nobody_defines_this();
}
