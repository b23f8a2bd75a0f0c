//! The address of the engine that the Dagger CLI uses.

use std::time::Duration;

use base::probe;

/// The variable that names the engine. Dagger calls it experimental and has no other.
pub const VARIABLE: &str = "_EXPERIMENTAL_DAGGER_RUNNER_HOST";

/// The timeout of a connection to an engine.
const CONNECT: Duration = Duration::from_secs(5);

/// Returns the address of the engine that the CLI uses here.
#[must_use]
pub fn current() -> Address {
    Address::parse(base::env::variable(VARIABLE).as_deref())
}

/// Returns the address as text, for messages.
#[must_use]
pub fn as_text() -> String {
    base::env::variable(VARIABLE).unwrap_or_else(|| "the container runtime".to_owned())
}

/// The kind of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A container runtime of this machine starts or runs the engine, with one of these programs.
    Container(Vec<&'static str>),
    /// The path of a socket on this machine.
    Socket(String),
    /// A server, as `host:port`. The connection is neither encrypted nor authenticated.
    Open(String),
    /// A server behind a protocol that authenticates, or Dagger's own service.
    Secure(String),
    /// The name of a pod.
    Pod(String),
    /// A scheme that the CLI does not support.
    Unknown(String),
}

/// The container runtimes that the CLI searches for, in its order.
const RUNTIMES: [&str; 5] = ["docker", "podman", "nerdctl", "finch", "container"];

impl Address {
    /// Parses the variable. If it is unset, the CLI starts its engine as a container
    /// (<https://docs.dagger.io/reference/container-runtimes>).
    #[must_use]
    pub fn parse(address: Option<&str>) -> Address {
        let Some((scheme, rest)) = address.unwrap_or("image://").split_once("://") else {
            return Address::Unknown(address.unwrap_or_default().to_owned());
        };
        let bare = rest.split('?').next().unwrap_or_default();
        match scheme {
            "image" | "container" => Address::Container(RUNTIMES.to_vec()),
            "docker-image" | "docker-container" => Address::Container(vec!["docker"]),
            "unix" => Address::Socket(bare.to_owned()),
            "tcp" => Address::Open(bare.to_owned()),
            "kube-pod" => Address::Pod(bare.to_owned()),
            "ssh" | "tls" | "dagger-cloud" => Address::Secure(bare.to_owned()),
            other => match other.strip_prefix("image+").or(other.strip_prefix("container+")) {
                Some("apple") => Address::Container(vec!["container"]),
                Some(backend) if RUNTIMES.contains(&backend) => {
                    let backend = RUNTIMES.into_iter().filter(|&known| known == backend);
                    Address::Container(backend.collect())
                }
                _ => Address::Unknown(other.to_owned()),
            },
        }
    }

    /// Returns true if no engine listens at the address. Returns false for a container, a pod or an authenticated
    /// server, because only the CLI can connect to them.
    #[must_use]
    pub fn refuses(&self) -> bool {
        match self {
            Address::Socket(path) => !probe::socket_accepts(path),
            Address::Open(server) => !probe::server_accepts(server, CONNECT),
            Address::Container(_) | Address::Secure(_) | Address::Pod(_) | Address::Unknown(_) => {
                false
            }
        }
    }

    /// Returns true if an unencrypted connection leaves this machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let Address::Open(server) = self else { return false };
        let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
        !(host == "localhost" || host == "[::1]" || host.starts_with("127."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_of_the_supported_clis_is_known() {
        let all = || Address::Container(RUNTIMES.to_vec());
        for (address, meant) in [
            (None, all()),
            (Some("image://registry.dagger.io/engine:v0.21.8"), all()),
            (Some("docker-container://engine"), Address::Container(vec!["docker"])),
            (Some("image+podman://x"), Address::Container(vec!["podman"])),
            (Some("container+apple://x"), Address::Container(vec!["container"])),
            (
                Some("unix:///run/dagger/engine.sock"),
                Address::Socket("/run/dagger/engine.sock".into()),
            ),
            (Some("tcp://10.0.0.5:1234"), Address::Open("10.0.0.5:1234".into())),
            (Some("kube-pod://engine-0?namespace=ci"), Address::Pod("engine-0".into())),
            (Some("ssh://me@there"), Address::Secure("me@there".into())),
            (Some("podman-container://x"), Address::Unknown("podman-container".into())),
            (Some("engine:1234"), Address::Unknown("engine:1234".into())),
        ] {
            assert_eq!(Address::parse(address), meant, "{address:?}");
        }
    }

    /// A child of another test has a copy of the closed listener until it executes its program.
    fn refuses_soon(address: &Address) -> bool {
        let pause = || std::thread::sleep(Duration::from_millis(10));
        (0..1_000).any(|_| {
            address.refuses() || {
                pause();
                false
            }
        })
    }

    #[test]
    fn refuses_an_address_without_a_listener() {
        let folder = std::env::temp_dir().join(format!("engine-address-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let socket = folder.join("engine.sock");
        let address = Address::Socket(socket.to_string_lossy().into_owned());
        assert!(address.refuses());
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        assert!(!address.refuses());
        // A socket file that a killed engine left.
        drop(listener);
        assert!(socket.exists() && refuses_soon(&address));
        std::fs::remove_dir_all(&folder).expect("removable");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = Address::Open(listener.local_addr().expect("an address").to_string());
        assert!(!address.refuses());
        drop(listener);
        assert!(refuses_soon(&address));
        assert!(!Address::parse(None).refuses());
    }

    #[test]
    fn only_a_loopback_address_keeps_an_open_connection_private() {
        for (server, exposed) in [
            ("tcp://127.0.0.1:1234", false),
            ("tcp://[::1]:1234", false),
            ("tcp://localhost:1234", false),
            ("tcp://10.0.0.5:1234", true),
            ("tcp://127example.com:1", true),
            ("unix:///x", false),
        ] {
            assert_eq!(Address::parse(Some(server)).is_exposed(), exposed, "{server}");
        }
    }
}
