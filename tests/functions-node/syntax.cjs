exports.before = 1;

exports.handler = async () => {{;
