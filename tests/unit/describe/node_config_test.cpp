#include "runtime/describe/config_commands.hpp"
#include "runtime/describe/node_config.hpp"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <sys/stat.h>

namespace weir::describe {
namespace {

namespace fs = std::filesystem;

class NodeConfig : public testing::Test {
protected:
  void SetUp() override {
    auto pattern = (fs::temp_directory_path() / "weir-describe-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, std::string_view text, mode_t mode = 0600) {
    auto path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
    return path;
  }
  // The problems, one a line, with the temporary folder cut away.
  std::string said(const loaded_config& loaded) const {
    std::string out;
    for (auto& p : loaded.found)
      out += to_string(p) + "\n";
    for (auto prefix = folder_.string() + "/"; out.find(prefix) != std::string::npos;)
      out.erase(out.find(prefix), prefix.size());
    return out;
  }

  fs::path folder_;
};

std::string complaints(std::string_view yaml, const environment& variables = {}) {
  std::string out;
  for (auto& p : parse_node_config(yaml, "n.yaml", variables).found)
    out += to_string(p) + "\n";
  return out;
}

TEST_F(NodeConfig, AnEmptyFileIsAMachineThatDoesEverything) {
  auto loaded = load_node_config(write("n.yaml", ""), {});
  ASSERT_TRUE(loaded.good()) << said(loaded);
  EXPECT_EQ(said(loaded), "");
  EXPECT_EQ(loaded.config.role_list().size(), 6u);
  EXPECT_FALSE(loaded.config.node.name.empty());
  EXPECT_EQ(loaded.config.http.listen, "127.0.0.1:8080");
  ASSERT_EQ(loaded.config.ladders.size(), 3u);
  EXPECT_EQ(loaded.config.ladders[0].name, "default");
  EXPECT_EQ(loaded.config.ladders[0].rungs[0].video.bits_per_second, 5'000'000);
}

TEST_F(NodeConfig, AMissingFileIsAProblemNotACrash) {
  auto loaded = load_node_config(folder_ / "absent.yaml", {});
  EXPECT_FALSE(loaded.good());
  EXPECT_NE(said(loaded).find("absent.yaml"), std::string::npos);
}

TEST_F(NodeConfig, FilesOfConfDAreAddedInByteOrder) {
  auto path = write("n.yaml", "log: {level: debug}\n");
  write("conf.d/20.yaml", "http: {threads: 3}\n");
  write("conf.d/10.yaml", "http: {listen: \"127.0.0.1:9\"}\nlog: {format: json}\n");
  write("conf.d/ignored.txt", "nonsense");
  auto loaded = load_node_config(path, {});
  ASSERT_TRUE(loaded.good()) << said(loaded);
  EXPECT_EQ(loaded.config.http.threads, 3u);
  EXPECT_EQ(loaded.config.http.listen, "127.0.0.1:9");
  EXPECT_EQ(loaded.config.log.level, log_level::debug);
  EXPECT_EQ(loaded.config.log.format, log_format::json);
}

TEST_F(NodeConfig, AValueSetInTwoFilesNamesBoth) {
  auto path = write("n.yaml", "log:\n  level: debug\n");
  write("conf.d/a.yaml", "log:\n  level: info\n");
  EXPECT_EQ(said(load_node_config(path, {})), "conf.d/a.yaml:2:3: log.level: already set in n.yaml:2:3: keep one of them\n");
}

TEST_F(NodeConfig, SecretsComeFromPrivateFilesBesideTheYaml) {
  write("secret", "s3cret\n");
  auto path = write("n.yaml", "hooks:\n  secret_file: secret\n");
  auto loaded = load_node_config(path, {});
  ASSERT_TRUE(loaded.good()) << said(loaded);
  EXPECT_EQ(loaded.config.hooks.secret, "s3cret");

  write("credentials/secret", "from-systemd");
  loaded = load_node_config(path, {{"CREDENTIALS_DIRECTORY", (folder_ / "credentials").string()}});
  EXPECT_EQ(loaded.config.hooks.secret, "from-systemd");

  write("secret", "s3cret\n", 0644);
  EXPECT_EQ(said(load_node_config(path, {})).substr(0, 37), "n.yaml:2:16: hooks.secret_file: secre");
  EXPECT_NE(said(load_node_config(path, {})).find("0644"), std::string::npos);
}

TEST_F(NodeConfig, LaddersComeFromFilesAndReplaceBuiltInOnes) {
  write("ladders/low.yaml", "name: low\nrungs:\n  - {name: tiny, height: 144, video: 100k}\n");
  write("ladders/mine.yaml", "name: mine\nrungs:\n  - {name: 480p, height: 480, video: 1M}\n");
  auto loaded = load_node_config(write("n.yaml", "ladder_files: [ladders/low.yaml, ladders/mine.yaml]\n"), {});
  ASSERT_TRUE(loaded.good()) << said(loaded);
  ASSERT_EQ(loaded.config.ladders.size(), 4u);
  EXPECT_EQ(loaded.config.ladders[0].rungs[0].name, "tiny");

  write("ladders/low.yaml", "name: low\nrungs:\n  - {name: a, height: 144, video: 100k}\n  - {name: a, height: 720, video: 2M}\npreset: slowest\n");
  auto text = said(load_node_config(folder_ / "n.yaml", {}));
  EXPECT_NE(text.find("preset: \"slowest\" is not one of"), std::string::npos) << text;
  EXPECT_NE(text.find("rungs[1].name: \"a\" is the name of another rung"), std::string::npos) << text;
}

TEST_F(NodeConfig, CertificatesOfEdgesAreFilesThatAreThere) {
  auto at = [&](const std::string& name) { return (folder_ / name).string(); };
  auto path = write("n.yaml", "edge:\n  certificate: " + at("c.pem") + "\n  key: " + at("c.key") + "\ndirector: {edge_authorities: " + at("ca.pem") + "}\n");
  EXPECT_EQ(said(load_node_config(path, {})), "n.yaml:2:16: edge.certificate: c.pem: No such file or directory\n"
                                              "n.yaml:3:8: edge.key: c.key: No such file or directory\n"
                                              "n.yaml:4:30: director.edge_authorities: ca.pem: No such file or directory\n");
  write("c.pem", "-----BEGIN PRIVATE KEY-----\n");
  write("c.key", "-----BEGIN CERTIFICATE-----\n");
  write("ca.pem", "-----BEGIN CERTIFICATE-----\n");
  EXPECT_EQ(said(load_node_config(path, {})), "n.yaml:2:16: edge.certificate: c.pem holds no certificate (PEM)\n"
                                              "n.yaml:3:8: edge.key: c.key holds no key (PEM)\n");
  write("c.pem", "-----BEGIN CERTIFICATE-----\n");
  write("c.key", "-----BEGIN EC PRIVATE KEY-----\n", 0644);
  auto loaded = load_node_config(path, {});
  EXPECT_TRUE(loaded.good());
  EXPECT_EQ(said(loaded), "n.yaml:3:8: warning: edge.key: c.key can be read by everyone on this machine: chmod o= c.key\n");
  write("c.key", "-----BEGIN EC PRIVATE KEY-----\n", 0640);
  EXPECT_EQ(said(load_node_config(path, {})), "");
}

TEST_F(NodeConfig, TheCertificateOfTheListenerIsAFileThatIsThere) {
  auto path = write("n.yaml", "http:\n  tls_listen: 127.0.0.1:8443\n  certificate: " + (folder_ / "c.pem").string() + "\n  key: " + (folder_ / "c.key").string() + "\nroles: [director]\ncluster: {join: [\"127.0.0.1:4321\"]}\n");
  EXPECT_EQ(said(load_node_config(path, {})), "n.yaml:3:16: http.certificate: c.pem: No such file or directory\n"
                                              "n.yaml:4:8: http.key: c.key: No such file or directory\n");
}

TEST(NodeConfigText, TlsOfTheListenerNeedsAddressAndCertificate) {
  const std::string pair = "certificate: /c.pem, key: /c.key";
  EXPECT_EQ(complaints("http: {tls_listen: \"0.0.0.0:443\"}\n"), "n.yaml:1:20: http.tls_listen: needs http.certificate and http.key\n");
  EXPECT_EQ(complaints("http: {tls_listen: \"0.0.0.0:443\", " + pair + "}\n"),
            "n.yaml:1:1: warning: edge.certificate: playlists name http://127.0.0.1:8081, which browsers do not load in a page at https://0.0.0.0:443 "
            "(http.public_url): set edge.certificate and edge.key, or an https:// address in edge.public_url\n");
  EXPECT_EQ(complaints("http: {" + pair + "}\n"), "n.yaml:1:21: warning: http.certificate: is not used without http.tls_listen\n");
  const std::string edges = "edge: {" + pair + "}\n";
  EXPECT_EQ(complaints("http: {listen: \"0.0.0.0:80\", tls_listen: \"0.0.0.0:443\", " + pair + "}\n" + edges), "") << "it is reached with TLS, too";
  EXPECT_EQ(complaints("http: {tls_listen: \"0.0.0.0:8080\", " + pair + "}\n" + edges), "n.yaml:1:20: http.tls_listen: port 8080 is that of http.listen\n");
  EXPECT_EQ(complaints("http: {tls_listen: \"0.0.0.0:8082\", " + pair + "}\n" + edges), "n.yaml:1:20: http.tls_listen: port 8082 is one of the edges' ports 8081..8082\n");
  EXPECT_EQ(complaints("http: {tls_listen: \"0.0.0.0:443\", public_url: \"http://live.example.org\", " + pair + "}\n" + edges),
            "n.yaml:1:47: warning: http.public_url: \"http://live.example.org\" is not where http.tls_listen serves: pages and playlists will be without TLS\n");
}

TEST(NodeConfigText, EdgesHaveAddressesThatBrowsersCanUse) {
  EXPECT_EQ(complaints("edge: {certificate: /c.pem}\n"), "n.yaml:1:7: edge.key: is empty: TLS needs edge.certificate and edge.key\n");
  EXPECT_EQ(complaints("edge:\n  certificate: c.pem\n  key: /c.key\n"), "n.yaml:2:16: edge.certificate: \"c.pem\" is not an absolute path\n");
  const std::string page = "http: {public_url: \"https://live.example.org\"}\n";
  EXPECT_EQ(complaints(page), "n.yaml:1:1: warning: edge.certificate: playlists name http://127.0.0.1:8081, which browsers do not load in a page at https://live.example.org "
                              "(http.public_url): set edge.certificate and edge.key, or an https:// address in edge.public_url\n");
  EXPECT_EQ(complaints(page + "edge: {certificate: /c.pem, key: /c.key}\n"), "");
  EXPECT_EQ(complaints(page + "edge: {public_url: \"https://edge-{n}.example.org/\"}\n"), "");
  EXPECT_EQ(complaints(page + "edge: {public_url: \"http://edge.example.org:{port}\"}\n").substr(0, 61), "n.yaml:2:20: warning: edge.public_url: playlists name http://");
  EXPECT_EQ(complaints("edge: {public_url: \"https://edge.example.org\"}\n"),
            "n.yaml:1:20: edge.public_url: \"https://edge.example.org\" is one address for 2 edges: write {n} or {port} where they differ\n");
  EXPECT_EQ(complaints("edge: {public_url: \"https://edge.example.org\", instances: 1, listen_host: 0.0.0.0}\n"), "");
  EXPECT_EQ(complaints("edge: {public_url: \"https://edge-{number}.example.org\", instances: 1}\n"),
            "n.yaml:1:20: edge.public_url: \"https://edge-{number}.example.org\" holds more than an address, {n} and {port}\n");
  EXPECT_EQ(complaints("edge: {public_url: edge.example.org, instances: 1}\n"),
            "n.yaml:1:20: edge.public_url: \"edge.example.org\" is not an address of the form http://HOST or https://HOST\n");
  EXPECT_EQ(complaints("director: {edge_hosts: [\"https://*.edge.example.org\", \"http://10.0.0.1:8081\"]}\n"), "");
  for (auto bad : {"edge.example.org", "https://", "https://*.", "https://a/b", "https://a;b", "https://*.*.org", "https://[::1]:80", "https://a:0x1"})
    EXPECT_NE(complaints(fmt::format("director: {{edge_hosts: [\"{}\"]}}\n", bad)).find("director.edge_hosts[0]: "), std::string::npos) << bad;
}

TEST(NodeConfigText, DriversOfTheAutoscalerHaveWhatTheyNeed) {
  EXPECT_EQ(complaints("autoscaler: {driver: exec}\n"), "n.yaml:1:13: autoscaler.command: is empty: the driver exec needs a program\n");
  EXPECT_EQ(complaints("autoscaler: {driver: exec, command: [/bin/order, \"\"]}\n"), "");
  EXPECT_NE(complaints("autoscaler: {driver: exec, command: [\"\"]}\n").find("autoscaler.command[0]: is empty"), std::string::npos);
  EXPECT_EQ(complaints("autoscaler: {driver: webhook}\n"), "n.yaml:1:13: autoscaler.url: is empty: the driver webhook needs an address\n");
  EXPECT_NE(complaints("autoscaler: {driver: webhook, url: scaler.example.org}\n").find("is not an address of the form http://HOST or https://HOST"), std::string::npos);
  EXPECT_EQ(complaints("autoscaler: {driver: webhook, url: \"https://s.example.org/o\", token_file: token}\n"),
            "n.yaml:1:75: autoscaler.token_file: \"token\" is not an absolute path\n");
  const std::string plain = "autoscaler: {driver: webhook, token_file: /token, url: ";
  EXPECT_NE(complaints(plain + "\"http://10.0.0.1:80/o\"}\n").find("warning: autoscaler.url: is reached without TLS"), std::string::npos);
  EXPECT_EQ(complaints(plain + "\"http://127.0.0.1:80/o\"}\n"), "");
  EXPECT_EQ(complaints(plain + "\"https://10.0.0.1/o\"}\n"), "");
}

TEST(EdgeUrl, IsWhatViewersUse) {
  edge_options edges;
  EXPECT_EQ(edge_url(edges, 1, 8081), "http://127.0.0.1:8081");
  edges.public_host = "::1";
  edges.certificate = "/c.pem";
  EXPECT_EQ(edge_url(edges, 2, 8082), "https://[::1]:8082");
  edges.public_url = "https://edge-{n}.example.org:{port}/e{n}/";
  EXPECT_EQ(edge_url(edges, 2, 8082), "https://edge-2.example.org:8082/e2");
}

TEST(NodeConfigText, VariablesOfTheEnvironmentAreReplaced) {
  auto loaded = parse_node_config("http:\n  listen: ${HOST}:${PORT:-80}\n  threads: ${THREADS:-4}\nnode: {name: \"${EMPTY:-a}\"}\n", "n.yaml",
                                  {{"HOST", "localhost"}, {"EMPTY", ""}});
  ASSERT_TRUE(loaded.good()) << to_string(loaded.found[0]);
  EXPECT_EQ(loaded.config.http.listen, "localhost:80");
  EXPECT_EQ(loaded.config.http.threads, 4u);
  EXPECT_EQ(loaded.config.node.name, "a");
  EXPECT_EQ(complaints("node: {name: \"${WHO}\"}"), "n.yaml:1:14: node.name: the environment variable WHO is not set: set it, or write ${WHO:-default}\n");
  EXPECT_EQ(complaints("node: {name: \"${WHO\"}").substr(0, 36), "n.yaml:1:14: node.name: \"${\" starts ");
  EXPECT_EQ(parse_node_config("node: {labels: {a: $$5, b: \"$\"}}", "", {}).config.node.labels.at("a"), "$5");
  EXPECT_EQ(parse_node_config("node: {name: \"${N}\"}", "", {{"N", "007"}}).config.node.name, "007") << "the type is taken from what is wanted";
}

TEST(NodeConfigText, WeirVariablesOverride) {
  auto loaded = parse_node_config("http: {listen: \"127.0.0.1:1\"}\nroles: [worker, edge]\ncluster: {join: [localhost:1]}\nedge: {origins: [\"http://o\"]}\n", "n.yaml",
                                  {{"WEIR_HTTP_LISTEN", "127.0.0.1:2"},
                                   {"WEIR_CLUSTER_JOIN_1", "[::1]:2"},
                                   {"WEIR_ROLES_0", "ingest"},
                                   {"WEIR_EDGE_FIRST_PORT", "9000"},
                                   {"WEIR_TOKEN", "of the command line"},
                                   {"WEIR_EDGE_PORTS", "1"}});
  ASSERT_TRUE(loaded.good()) << to_string(loaded.found[0]);
  EXPECT_EQ(loaded.config.http.listen, "127.0.0.1:2");
  EXPECT_EQ(loaded.config.cluster.join, (std::vector<std::string>{"localhost:1", "[::1]:2"}));
  EXPECT_EQ(loaded.config.roles, (std::vector{role_choice::ingest, role_choice::edge}));
  EXPECT_EQ(loaded.config.edge.first_port, 9000);
  ASSERT_EQ(loaded.found.size(), 1u);
  EXPECT_EQ(to_string(loaded.found[0]), "environment variable WEIR_EDGE_PORTS: warning: names no setting");
  EXPECT_EQ(complaints("", {{"WEIR_HTTP_THREADS", "many"}}), "environment variable WEIR_HTTP_THREADS: http.threads: many is not a whole number\n");
  EXPECT_EQ(parse_node_config("", "", {{"WEIR_ROLES", "coordinator,origin"}}).config.role_list(), (std::vector{role::coordinator, role::origin}));
}

TEST(NodeConfigText, RulesAcrossSettingsHavePlaces) {
  EXPECT_EQ(complaints("roles: [edge]\n"),
            "n.yaml:1:1: cluster.join: is empty, but without the role coordinator this node needs the address of one, such as control.example.org:4700\n"
            "n.yaml:1:1: edge.origins: is empty, this node has no role origin and is in no cluster that could have one: the edges would have nothing to fetch from\n");
  EXPECT_EQ(complaints("roles: [edge]\ncluster:\n  join: [localhost:4700]\n").find("edge.origins"), std::string::npos) << "the cluster says where";
  EXPECT_EQ(complaints("roles: [all]\ncluster:\n  join: [localhost:4700]\n"),
            "n.yaml:3:9: cluster.join: this node has the role coordinator, which others join: leave it empty, take the role away, or elect one of several (coordinator.election: etcd)\n");
  EXPECT_EQ(complaints("cluster:\n  listen: 0.0.0.0:4700\norigin: {url: \"http://o\"}"),
            "n.yaml:2:11: cluster.listen: \"0.0.0.0:4700\" leaves this machine without TLS: set cluster.ca, certificate and key (`weir cluster init-ca`), or, on a network that nobody else reaches, cluster.insecure: true\n");
  EXPECT_EQ(complaints("cluster: {listen: \"10.0.0.1:4700\", insecure: true}\norigin: {url: \"http://o\"}\n"),
            "n.yaml:1:1: warning: http.listen: \"127.0.0.1:8080\" is not reached by the other nodes, which ask this one whether it misses the coordinator too: write its address in your network, or http.internal_url\n");
  const std::string joins = "roles: [worker]\ncluster: {join: [\"10.0.0.1:4700\"], insecure: true}\n";
  EXPECT_EQ(complaints(joins + "http: {listen: \"localhost:80\"}\n"),
            "n.yaml:3:16: warning: http.listen: \"localhost:80\" is not reached by the other nodes, which ask this one whether it misses the coordinator too: write its address in your network, or http.internal_url\n");
  EXPECT_EQ(complaints(joins + "http: {listen: \"localhost:80\", internal_url: \"http://10.0.0.2\"}\n"), "");
  EXPECT_EQ(complaints(joins + "http: {listen: \"10.0.0.2:80\", public_url: \"https://live.example.org\"}\n"), "");
  EXPECT_NE(complaints("cluster: {listen: \"10.0.0.1:4700\", insecure: true}\n").find("too, and write to its origin: write its address"), std::string::npos);
  EXPECT_EQ(complaints("roles: [all, edge, all]\n"), "n.yaml:1:9: roles[0]: all includes every other role: list it alone\n"
                                                     "n.yaml:1:20: roles[2]: all is listed twice\n");
  EXPECT_EQ(complaints("http: {listen: 8080}\n"), "n.yaml:1:16: http.listen: 8080 is a number, text is wanted: write \"8080\"\n");
  EXPECT_EQ(complaints("http: {listen: \":8080\"}\n"), "n.yaml:1:16: http.listen: \":8080\" is not address:port (write it like 127.0.0.1:8080 or [::1]:8080)\n");
  EXPECT_EQ(complaints("http: {public_url: live.example.org}\n"),
            "n.yaml:1:20: http.public_url: \"live.example.org\" is not an address of the form http://HOST or https://HOST\n");
  EXPECT_EQ(complaints("hooks: {allow: [10.0.0.1/8]}\n"),
            "n.yaml:1:17: hooks.allow[0]: \"10.0.0.1/8\" has bits set beyond its prefix length (write it like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7)\n");
  EXPECT_EQ(complaints("origin: {profile: quick, window: 20s}\n"),
            "n.yaml:1:34: origin.window: 20s is less than six segments of 4s: players would stall; take at least 24s, or 0s for the profile's 1m\n");
  EXPECT_EQ(complaints("origin: {profile: short, window: 1h}\n"),
            "n.yaml:1:34: origin.window: 1h is more than 512 segments of 2s, and a playlist lists no more; take at most 1024s\n");
  EXPECT_EQ(complaints("origin: {profile: standard, window: 3072s}\n"), "");
  EXPECT_EQ(complaints("origin: {store: replicated, copies: 2}\n"), "");
  EXPECT_NE(complaints("origin: {store: replicated, copies: 1}\n").find("origin.copies"), std::string::npos) << "one alone is origin.store: fs";
  EXPECT_EQ(complaints("rtmp_servers:\n  - {name: a, rtmp_url: \"rtmp://a\"}\n  - {name: a, rtmp_url: \"http://b\"}\n"),
            "n.yaml:3:25: rtmp_servers[1].rtmp_url: \"http://b\" is not an address of the form rtmp://HOST or rtmps://HOST\n");
  EXPECT_EQ(complaints("rtmp_servers:\n  - {name: a, rtmp_url: \"rtmp://a\"}\n  - {name: a, rtmp_url: \"rtmp://b\"}\n"),
            "n.yaml:3:12: rtmp_servers[1].name: \"a\" is the name of another server\n");
  EXPECT_EQ(complaints("coordinator: {election: etcd}\n"),
            "n.yaml:1:1: cluster.join: is empty: with coordinator.election: etcd it names the cluster listeners of the other coordinators, which this one passes requests on to while it stands by\n"
            "n.yaml:1:1: cluster.listen: is empty: with coordinator.election: etcd the other coordinators and all nodes must reach this one\n"
            "n.yaml:1:14: coordinator.etcd_endpoints: is empty: coordinator.election: etcd needs the client addresses of etcd's members, such as http://10.0.0.1:2379\n");
  EXPECT_EQ(complaints("roles: [coordinator]\ncluster: {listen: \"localhost:4700\", join: [\"localhost:4701\"]}\n"
                       "coordinator: {election: etcd, etcd_endpoints: [\"http://localhost:1\", \"http://localhost:2\", \"https://10.0.0.1:3\"]}\n"), "");
  EXPECT_EQ(complaints("roles: [coordinator]\ncluster: {listen: \"localhost:4700\", join: [\"localhost:4701\"]}\n"
                       "coordinator: {election: etcd, etcd_endpoints: [\"http://localhost:1\", \"http://10.0.0.1:2\", localhost]}\n"),
            "n.yaml:3:70: warning: coordinator.etcd_endpoints[1]: \"http://10.0.0.1:2\" leaves this machine without TLS, and publish keys go there: use https://, or, on a network that nobody else reaches, cluster.insecure: true\n"
            "n.yaml:3:91: coordinator.etcd_endpoints[2]: \"localhost\" is not an address of the form http://HOST or https://HOST\n");
  const std::string elected = "roles: [coordinator]\ncluster: {listen: \"localhost:4700\", join: [\"localhost:4701\"]}\n";
  const std::string three = "coordinator: {election: etcd, etcd_endpoints: [\"http://localhost:1\", \"http://localhost:2\", \"http://localhost:3\"], ";
  EXPECT_EQ(complaints(elected + three + "etcd_ca: /ca.pem}\n"),
            "n.yaml:3:124: warning: coordinator.etcd_ca: is not used: no address of coordinator.etcd_endpoints begins with https://\n");
  EXPECT_EQ(complaints(elected + "coordinator: {election: etcd, etcd_endpoints: [\"http://localhost:1\", \"http://localhost:2\", \"https://localhost:3\"], etcd_key: /e.key}\n"),
            "n.yaml:3:14: coordinator.etcd_certificate: is empty: what etcd is shown is a certificate and its key\n");
  EXPECT_EQ(complaints("edge: {first_port: 8080}\n"), "n.yaml:1:1: http.listen: port 8080 is one of the edges' ports 8080..8081\n");
}

TEST(NodeConfigText, ABucketIsNamedInFull) {
  const std::string server = "origin: {store: s3, s3: {endpoint: \"https://s3.example.org\", ";
  EXPECT_EQ(complaints(server + "bucket: live, prefix: studio/one}}\n"), "");
  EXPECT_EQ(complaints("origin: {store: s3, s3: {endpoint: \"http://127.0.0.1:9000\", bucket: live}}\n"), "");
  EXPECT_EQ(complaints("origin: {store: s3, s3: {endpoint: \"s3.example.org\", bucket: live}}\n"),
            "n.yaml:1:36: origin.s3.endpoint: \"s3.example.org\" is not an address of the form http://HOST or https://HOST\n");
  EXPECT_EQ(complaints("origin: {store: s3, s3: {endpoint: \"http://10.0.0.1:9000\", bucket: live}}\n"),
            "n.yaml:1:36: warning: origin.s3.endpoint: \"http://10.0.0.1:9000\" leaves this machine without TLS: segments, and what is asked for, can be read and changed on the way\n");
  for (auto wrong : {"https://key:hidden@s3.example.org", "https://s3.example.org/?x=1", "https://s3.example.org#x"}) {
    const auto said = complaints(fmt::format("origin: {{store: s3, s3: {{endpoint: \"{}\", bucket: live}}}}\n", wrong));
    EXPECT_EQ(said, "n.yaml:1:36: origin.s3.endpoint: holds '@', '?' or '#': it is scheme, host and perhaps port; the key belongs into the file of s3.credentials\n");
  }
  EXPECT_EQ(complaints(server + "bucket: L}}\n"), "n.yaml:1:70: origin.s3.bucket: \"L\" is no bucket's name: 3 to 63 of a-z, 0-9, '-' and '.'\n");
  for (auto wrong : {"/x", "x//y", ".x", "x/../y", "a b"})
    EXPECT_EQ(complaints(server + "bucket: live, prefix: " + wrong + "}}\n"),
              fmt::format("n.yaml:1:84: origin.s3.prefix: \"{}\" is not made of words of letters, digits, '-', '_' and '.' with '/' between them\n", wrong));
  EXPECT_NE(complaints("origin: {store: s3}\n"), "");
  EXPECT_EQ(complaints("origin: {s3: {bucket: live}}\n"), "n.yaml:1:14: warning: origin.s3: is not used: store is not s3\n");
}

TEST(NodeConfigText, NeverShowsASecretInAProblem) { EXPECT_EQ(complaints("hooks: {secret: \"hush hush\"}").find("hush"), std::string::npos); }

TEST_F(NodeConfig, CheckPrintsEveryProblemAndTellsByItsStatus) {
  std::ostringstream out;
  auto path = write("n.yaml", "http:\n  treads: 2\nlog: {level: loud}\n");
  EXPECT_EQ(check_command(path, out, output_format::text, {}), 2);
  EXPECT_EQ(out.str(), path.string() + ":2:3: http.treads: unknown, did you mean threads?\n" + path.string() +
                         ":3:14: log.level: loud is not one of debug, info, warn, error, critical\n");
  out.str("");
  EXPECT_EQ(check_command(path, out, output_format::json, {}), 2);
  auto parsed = nlohmann::json::parse(out.str());
  EXPECT_EQ(parsed["ok"], false);
  EXPECT_EQ(parsed["problems"][0]["line"], 2);
  out.str("");
  EXPECT_EQ(check_command(write("good.yaml", "log: {level: warn}"), out, output_format::text, {}), 0);
  EXPECT_EQ(out.str(), (folder_ / "good.yaml").string() + ": ok\n");
}

TEST_F(NodeConfig, ShowTellsEachValueWithItsOriginAndMasksSecrets) {
  std::ostringstream out;
  auto path = write("n.yaml", "http:\n  threads: 3\nhooks: {secret: hush}\n");
  EXPECT_EQ(show_command(path, out, output_format::text, {{"WEIR_LOG_LEVEL", "debug"}}), 0);
  auto text = out.str();
  auto line = [&](const std::string& start) {
    auto at = text.find("\n  " + start);
    return at == std::string::npos ? std::string() : text.substr(at + 3, text.find('\n', at + 1) - at - 3);
  };
  EXPECT_EQ(line("threads:"), "threads: 3                                     # " + path.string() + ":2:12");
  EXPECT_EQ(line("level:"), "level: debug                                   # environment variable WEIR_LOG_LEVEL");
  EXPECT_EQ(line("secret:"), "secret: \"***\"                                  # " + path.string() + ":3:17");
  EXPECT_NE(line("listen:").find("# default"), std::string::npos);
  EXPECT_EQ(text.find("hush"), std::string::npos);
  problems found;
  parse_yaml(text, "shown", found);
  EXPECT_TRUE(found.empty()) << "what is shown is YAML";
}

TEST(Addresses, ParseAndPrint) {
  EXPECT_EQ(to_string(*parse_host_port("[::1]:80")), "[::1]:80");
  EXPECT_EQ(to_string(*parse_host_port("live.example.org:1935")), "live.example.org:1935");
  for (auto bad : {"", "a", ":1", "a:", "a:65536", "a:-1", "a:1x", "::1:80", "[::1]", "[a]:1", "a b:1", "[]:1"})
    EXPECT_FALSE(parse_host_port(bad)) << bad;
  EXPECT_TRUE(is_loopback("127.1.2.3"));
  EXPECT_TRUE(is_loopback("::1"));
  EXPECT_TRUE(is_loopback("localhost"));
  EXPECT_FALSE(is_loopback("0.0.0.0"));
  EXPECT_FALSE(is_loopback("128.0.0.1"));
}

TEST(NodeConfigText, NetworksOfEdgesAreSoundAndEachOnce) {
  EXPECT_EQ(complaints("edge:\n  networks: [10.20.0.0/16, \"2001:db8::/32\"]\n  networks_only: true\n  locality: hall-1\n"), "");
  auto all = complaints("edge:\n  networks:\n    - 10.20.0.1/16\n    - 10.0.0.0/33\n    - hall\n    - 192.0.2.0/24\n    - \"::ffff:192.0.2.0/120\"\n");
  for (auto part : {"n.yaml:3:7: edge.networks[0]: \"10.20.0.1/16\" has bits set beyond its prefix length", "n.yaml:4:7: edge.networks[1]: \"10.0.0.0/33\" has no prefix length in 0..32",
                    "n.yaml:5:7: edge.networks[2]: \"hall\" is not an address or a range", "n.yaml:7:7: edge.networks[4]: \"::ffff:192.0.2.0/120\" is the same network as networks[3]"})
    EXPECT_NE(all.find(part), std::string::npos) << part << " in\n" << all;
  EXPECT_NE(complaints("edge: {networks_only: true}\n").find("edge.networks_only: leaves nobody to serve"), std::string::npos);
  EXPECT_NE(complaints("edge: {networks: [10.0.0.0/8], networks_only: true, spare: 2}\n").find("edge.spare: is not for edges that serve edge.networks only"), std::string::npos);
  EXPECT_NE(complaints("edge: {networks: [10.0.0.0/8], locality: \"hall 1\"}\n").find("edge.locality: \"hall 1\" holds more than"), std::string::npos);
  EXPECT_NE(complaints("edge: {locality: hall-1}\n").find("edge.locality: is not used without edge.networks"), std::string::npos);
  EXPECT_NE(complaints("director: {trusted_proxies: [proxy.example.org]}\n").find("director.trusted_proxies[0]: \"proxy.example.org\" is not an address or a range"), std::string::npos);
}

TEST(NodeConfigText, ASharedAddressIsForOneEdgeThatListensEverywhere) {
  const std::string good = "edge:\n  instances: 1\n  listen_host: 0.0.0.0\n  shared_address: {address: 10.0.0.5/24, interface: eth0";
  EXPECT_EQ(complaints(good + "}\n"), "");
  EXPECT_EQ(complaints(good + ", network: hall-1}\n  public_host: edge-1.example.org\n"), "");
  auto one = [](std::string_view address) { return complaints(fmt::format("edge: {{instances: 1, listen_host: 0.0.0.0, shared_address: {{address: \"{}\", interface: eth0}}}}\n", address)); };
  for (auto [wrong, why] : {std::pair{"10.0.0.5", "does not say how long its network's prefix is"}, {"10.0.0.5/33", "has no prefix length in 8..30"}, {"10.0.0.5/", "has no prefix length in 8..30"},
                            {"10.0.0.0/24", "is the address of a whole network, not of a machine"}, {"10.0.0.255/24", "is the address of a whole network, not of a machine"},
                            {"2001:db8::5/64", "is not an IPv4 address, and IPv6 addresses cannot be shared"}, {"edge/24", "is not an IPv4 address"},
                            {"127.0.0.5/8", "is not an address that a machine can have in a network"}, {"224.0.0.5/24", "is not an address that a machine can have in a network"}})
    EXPECT_EQ(one(wrong), fmt::format("n.yaml:1:70: edge.shared_address.address: \"{}\" {} (write it like 10.0.0.5/24)\n", wrong, why));
  EXPECT_NE(complaints("edge: {instances: 1, listen_host: 0.0.0.0, shared_address: {address: 10.0.0.5/24}}\n").find("edge.shared_address.interface: is empty"), std::string::npos);
  EXPECT_NE(complaints("edge: {shared_address: {interface: eth0}}\n").find("edge.shared_address.address: is empty"), std::string::npos);
  EXPECT_NE(complaints("edge: {shared_address: {address: 10.0.0.5/24, interface: eth/0}}\n").find("\"eth/0\" is not the name of a network interface"), std::string::npos);
  EXPECT_NE(complaints(good + ", network: \"hall 1\"}\n").find("edge.shared_address.network: \"hall 1\" holds more than"), std::string::npos);
  const auto many = complaints("edge: {instances: 2, spare: 1, listen_host: 10.0.0.11, first_port: 0, public_host: 10.0.0.6, shared_address: {address: 10.0.0.5/24, interface: eth0}}\n");
  for (auto part : {"edge.instances: 3 edges on one node cannot have edge.shared_address", "edge.listen_host: \"10.0.0.11\" is one address", "edge.first_port: is 0",
                    "edge.public_host: \"10.0.0.6\" is not the address 10.0.0.5 of edge.shared_address"})
    EXPECT_NE(many.find(part), std::string::npos) << part << " in\n" << many;
  edge_options options;
  options.listen_host = "0.0.0.0";
  options.shared_address = {"10.0.0.5/24", "eth0", {}};
  EXPECT_EQ(edge_url(options, 1, 8081), "http://10.0.0.5:8081") << "where viewers are sent, unless it is said otherwise";
  options.public_host = "edge-1.example.org";
  EXPECT_EQ(edge_url(options, 1, 8081), "http://edge-1.example.org:8081");
}

TEST(Addresses, RangesHoldWhatTheyShould) {
  std::vector<std::string> ranges{"10.0.0.0/8", "2001:db8::/32", "192.0.2.7"};
  EXPECT_TRUE(any_contains(ranges, "10.255.0.1"));
  EXPECT_TRUE(any_contains(ranges, "::ffff:10.0.0.1")) << "an IPv4 address in its IPv6 clothes";
  EXPECT_TRUE(any_contains(ranges, "2001:db8:1::5"));
  EXPECT_TRUE(any_contains(ranges, "192.0.2.7"));
  EXPECT_FALSE(any_contains(ranges, "192.0.2.8"));
  EXPECT_FALSE(any_contains(ranges, "11.0.0.1"));
  EXPECT_FALSE(any_contains(ranges, "not an address"));
  EXPECT_TRUE(any_contains({"0.0.0.0/0"}, "8.8.8.8"));
  EXPECT_FALSE(any_contains({"0.0.0.0/0"}, "2001::1"));
  EXPECT_TRUE(any_contains({"::/0"}, "2001::1"));
  for (auto bad : {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8x", "::/129", "10.0.0.0/-1", "010.0.0.1"})
    EXPECT_FALSE(parse_address_range(bad)) << bad;
}

} // namespace
} // namespace weir::describe
