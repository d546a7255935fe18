exports.handler = async () => 'folder';
