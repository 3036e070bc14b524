// A GET with the agents that programs of any Node version take: https-proxy-agent and http-proxy-agent.
const { readFileSync } = require("fs");
const { HttpProxyAgent } = require("http-proxy-agent");
const { HttpsProxyAgent } = require("https-proxy-agent");

const url = process.argv[2];
const secure = url.startsWith("https:");
const { PROXY_CERTIFICATE: cert, PROXY_KEY: key, https_proxy } = process.env;
const options = { cert: readFileSync(cert), key: readFileSync(key) }; // for a proxy with TLS that asks for them
const agent = new (secure ? HttpsProxyAgent : HttpProxyAgent)(https_proxy, options);
require(secure ? "https" : "http").get(url, { agent }, (answer) => {
  console.log(answer.statusCode, answer.statusMessage);
  answer.pipe(process.stdout);
});
