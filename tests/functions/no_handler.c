/* A library like any other: no fsbox_handler. */
int handler(void);
int handler(void)
{
	return 0;
}
