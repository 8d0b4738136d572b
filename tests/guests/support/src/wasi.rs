//! Deeds that try what a sandbox must not have: files, sockets, environment, arguments, input.

use std::fmt::Debug;
use std::io::{Read, Result, stdin};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::{env, fs};

pub fn environment() {
    println!("environment: {} variables", env::vars_os().count());
    println!("environment: {} arguments", env::args_os().count());
    println!("environment: directory {:?}", env::current_dir());
    println!("environment: home {:?}", env::var_os("HOME"));
}

pub fn input() {
    tell("stdin", "read", stdin().read_to_end(&mut Vec::new()));
}

pub fn files() {
    for path in ["/", ".", "..", "/etc/passwd", "../../etc/passwd", "/proc/self/environ", "a/", "/dev/zero"] {
        tell("files", &format!("read {path}"), fs::read(path));
        tell("files", &format!("list {path}"), fs::read_dir(path).map(Iterator::count));
    }
    tell("files", "write", fs::write("/tmp/campanile", "x"));
    tell("files", "create", fs::File::create("x").map(drop));
    tell("files", "directory", fs::create_dir_all("/tmp/a/b"));
    tell("files", "link", fs::hard_link("/etc/passwd", "/tmp/x"));
    tell("files", "rename", fs::rename("/etc/passwd", "/tmp/x"));
    tell("files", "remove", fs::remove_file("/etc/passwd"));
}

pub fn sockets() {
    tell("sockets", "connect", TcpStream::connect("127.0.0.1:80").map(drop));
    tell("sockets", "connect6", TcpStream::connect("[::1]:80").map(drop));
    tell("sockets", "listen", TcpListener::bind("0.0.0.0:0").map(drop));
    tell("sockets", "udp", UdpSocket::bind("0.0.0.0:0").map(drop));
    tell("sockets", "lookup", ("localhost", 80).to_socket_addrs().map(Iterator::count));
}

fn tell<T: Debug>(deed: &str, what: &str, result: Result<T>) {
    match result {
        Ok(got) => println!("{deed}: {what} got {got:?}"),
        Err(error) => println!("{deed}: {what} failed: {:?}", error.kind()),
    }
}
