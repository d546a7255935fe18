exports.handler = async () => 'cjs within';
