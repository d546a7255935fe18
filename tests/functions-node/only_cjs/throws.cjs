throw Object.assign(new Error('at the top'), {name: 'Top.Error'});
