// A GET with the agents that programs of any Node version take: https-proxy-agent and http-proxy-agent.
const { HttpProxyAgent } = require("http-proxy-agent");
const { HttpsProxyAgent } = require("https-proxy-agent");

const url = process.argv[2];
const secure = url.startsWith("https:");
const agent = new (secure ? HttpsProxyAgent : HttpProxyAgent)(process.env.https_proxy);
require(secure ? "https" : "http").get(url, { agent }, (answer) => {
  console.log(answer.statusCode, answer.statusMessage);
  answer.pipe(process.stdout);
});
