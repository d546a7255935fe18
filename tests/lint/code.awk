# Prints C sources with comments and the insides of string and character literals blanked: FILE:LINE:CODE.
FNR == 1 { in_comment = 0 }
{
	line = $0
	out = ""
	n = length(line)
	quote = ""
	for (i = 1; i <= n; i++) {
		c = substr(line, i, 1)
		two = substr(line, i, 2)
		if (in_comment) {
			if (two == "*/") {
				in_comment = 0
				i++
			}
		} else if (quote != "") {
			if (c == "\\")
				i++
			else if (c == quote) {
				quote = ""
				out = out c
			}
		} else if (two == "/*") {
			in_comment = 1
			i++
		} else if (two == "//") {
			break
		} else {
			if (c == "\"" || c == "'")
				quote = c
			out = out c
		}
	}
	if (out != "")
		printf "%s:%d:%s\n", FILENAME, FNR, out
}
