// A GET with Node's own fetch, which takes the proxy from the environment where NODE_USE_ENV_PROXY=1 says so.
const answer = await fetch(process.argv[2]);
console.log(answer.status, answer.statusText);
console.log(await answer.text());
