// The same contract in C++: count the words of the event. Nothing may be thrown out of fsbox_handler(), whose caller is C.
#include <fsbox.h>

#include <exception>
#include <map>
#include <sstream>
#include <string>

static std::string count_words(const std::string &text)
{
	std::map<std::string, unsigned> words;
	std::istringstream in(text);
	std::ostringstream out;
	std::string word;

	while (in >> word)
		words[word]++;
	for (const auto &entry : words)
		out << entry.first << ' ' << entry.second << '\n';
	return out.str();
}

// fsbox.h declares it extern "C".
int fsbox_handler(fsbox_call *call)
{
	try {
		std::size_t len;
		const char *event = static_cast<const char *>(fsbox_event(call, &len));
		const std::string answer = count_words(std::string(event, len));

		return fsbox_respond(call, answer.data(), answer.size());
	} catch (const std::exception &e) {
		return fsbox_fail(call, "Words.Failed", e.what());
	}
}
