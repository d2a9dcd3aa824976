require "net/http"

run lambda { |env|
  body = Net::HTTP.get(URI("http://#{ENV.fetch("BACKEND")}#{env["PATH_INFO"]}"))
  [200, { "Content-Type" => "text/plain", "Content-Length" => body.bytesize.to_s }, [body]]
}
