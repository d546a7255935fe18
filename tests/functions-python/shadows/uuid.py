"""Not the standard one."""
