exports.handler = async () => 'dots';
