exports.before = 1;

exports.handler = async () => 1 1;
