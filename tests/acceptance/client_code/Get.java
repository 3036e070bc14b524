import java.net.Authenticator;
import java.net.InetSocketAddress;
import java.net.PasswordAuthentication;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** A GET with java.net.http.HttpClient or, after the word "old", with HttpURLConnection. Neither knows https_proxy. */
public class Get {
    public static void main(String[] arguments) throws Exception {
        var proxy = new URI(System.getenv("https_proxy"));
        var login = proxy.getUserInfo().split(":");
        var address = new InetSocketAddress(proxy.getHost(), proxy.getPort());
        var authenticator = new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(login[0], login[1].toCharArray());
            }
        };
        if (arguments[0].equals("old")) {
            Authenticator.setDefault(authenticator);
            var connection = new URI(arguments[1]).toURL().openConnection(new Proxy(Proxy.Type.HTTP, address));
            connection.getInputStream().transferTo(System.out);
            return;
        }
        var client = HttpClient.newBuilder().proxy(ProxySelector.of(address)).authenticator(authenticator).build();
        var request = HttpRequest.newBuilder(new URI(arguments[0])).build();
        var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode());
        System.out.println(answer.body());
    }
}
