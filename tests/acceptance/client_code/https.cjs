// A GET with Node's own http and https, which take the proxy from the environment where NODE_USE_ENV_PROXY=1 says so.
const url = process.argv[2];
require(url.startsWith("https:") ? "https" : "http").get(url, (answer) => {
  console.log(answer.statusCode, answer.statusMessage);
  answer.pipe(process.stdout);
});
