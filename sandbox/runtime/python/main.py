# Executed by a cell's PID 1. As small as can be: a script is compiled anew at each start, a module comes from its cache.
import _fsbox.serve

_fsbox.serve.main()
