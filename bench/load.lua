-- The load of one run of wrk. bench/measure.py sets these environment variables, and reads the last line
-- of the output.
--
--   WORDS    a file with a line for each kind of word: tokens, sessions, tiers, concerts and events; each
--            line is its name and its words, with spaces between them
--   KIND     what each customer does: a key of `acts`
--   SKIP     seconds at the beginning whose answers are not counted; the connections start one after the
--            other during these seconds
--   CLIENTS  the number of connections
--   SEED     starts the random numbers, so that each run makes its own idempotency keys
--
-- A connection sends its next request when it has its answer.
local words = {}
for line in io.lines(os.getenv("WORDS")) do
  local name = line:match("^%S+")
  words[name] = {}
  for word in line:sub(#name + 1):gmatch("%S+") do table.insert(words[name], word) end
end

local random = math.random
local function uuid()
  return string.format("%08x-%04x-4%03x-a%03x-%06x%06x", random(0, 0xffffffff), random(0, 0xffff),
    random(0, 0xfff), random(0, 0xfff), random(0, 0xffffff), random(0, 0xffffff))
end

local function pick(name) return words[name][random(#words[name])] end
local function known() return pick("tokens") end
local function junk() return (uuid() .. uuid()):gsub("-", "") end

local function post(path, token)
  return function()
    local body = '{"ticketTierId":"' .. pick("tiers") .. '","quantity":1,"idempotencyKey":"' .. uuid() .. '"}'
    return wrk.format("POST", path, {
      ["Content-Type"] = "application/json", ["Authorization"] = "Token " .. token(),
    }, body)
  end
end

local function get(address, token)
  return function()
    return wrk.format("GET", address(), token and { ["Authorization"] = "Token " .. token() } or {})
  end
end

-- A webhook: each is sent once, and again only if there are no more.
local sent = 0
local function event()
  sent = sent + 1
  local body, signature = words.events[(sent - 1) % #words.events + 1]:match("^(.*)~(.*)$")
  return wrk.format("POST", "/payments/hosted/events", {
    ["Content-Type"] = "application/json", ["X-Payment-Signature"] = signature,
  }, body)
end

local function form()
  local id, csrf = pick("sessions"):match("(%w+):(%w+)")
  return wrk.format("POST", "/bookings/", {
    ["Content-Type"] = "application/x-www-form-urlencoded",
    ["Cookie"] = "sessionid=" .. id .. "; csrftoken=" .. csrf,
  }, "csrfmiddlewaretoken=" .. csrf .. "&tier=" .. pick("tiers") .. "&quantity=1&idempotency_key=" .. uuid())
end

-- A guest whom nobody knows yet.
local function guest()
  local csrf = "cccccccccccccccccccccccccccccccc"
  return wrk.format("POST", "/bookings/", {
    ["Content-Type"] = "application/x-www-form-urlencoded", ["Cookie"] = "csrftoken=" .. csrf,
  }, "csrfmiddlewaretoken=" .. csrf .. "&tier=" .. pick("tiers") .. "&quantity=1&idempotency_key=" .. uuid()
    .. "&name=Gwen&email=" .. uuid() .. "%40example.com")
end

local acts = {
  book = post("/api/v1/bookings", known),
  hold = post("/api/v1/bookings", known), -- the payment is made at a page of the gateway's
  events = event,
  junk = post("/api/v1/bookings", junk),
  textbook = post("/bench/textbook", known),
  nothing = post("/bench/nothing", known),
  form = form,
  guest = guest,
  list = get(function() return "/api/v1/concerts" end),
  detail = get(function() return "/api/v1/concerts/" .. pick("concerts") end),
  availability = get(function() return "/api/v1/concerts/" .. pick("concerts") .. "/availability" end),
  page = get(function() return "/concerts/" .. pick("concerts") .. "/" end),
  -- Each request has a new address, so no copy can answer it.
  newlist = get(function()
    return string.format("/api/v1/concerts?limit=12&dateFrom=2020-01-01T%02d:%02d:%02d.%06dZ",
      random(0, 23), random(0, 59), random(0, 59), random(0, 999999))
  end),
  mine = get(function() return "/api/v1/bookings" end, known),
}

-- Lua's own clock counts whole seconds, so we ask the operating system.
local ffi = require("ffi")
ffi.cdef "typedef struct { long s, ns; } moment; int clock_gettime(int clock, moment *now);"
local clock = ffi.new("moment")
local function seconds()
  ffi.C.clock_gettime(1, clock)
  return tonumber(clock.s) + tonumber(clock.ns) / 1e9
end

local skip = tonumber(os.getenv("SKIP"))
local threads, counts_from = {}, 0

function setup(thread) table.insert(threads, thread) end

function init()
  math.randomseed(tonumber(os.getenv("SEED")))
  answers = {}
  counts_from = seconds() + skip
  request = acts[os.getenv("KIND")]
end

if skip > 0 then
  local come, clients = 0, tonumber(os.getenv("CLIENTS"))
  function delay() -- returns the milliseconds to wait before a request
    come = come + 1
    return come <= clients and math.floor(come / clients * skip * 1000) or 0
  end
end

function response(status, headers)
  if skip > 0 and seconds() < counts_from then return end
  -- Only a redirect to a booking is a success. A redirect to the log-in page is counted as 302.
  local location = headers["Location"] or headers["location"]
  if status == 303 and not location:find("^/bookings/") then status = 302 end
  answers[status] = (answers[status] or 0) + 1
end

function done(summary, latency)
  local errors, answers = summary.errors, threads[1]:get("answers")
  local parts = {}
  answers.lost = errors.connect + errors.read + errors.write
  answers.timeout = errors.timeout
  for status, count in pairs(answers) do
    if count > 0 then table.insert(parts, string.format('"%s": %d', status, count)) end
  end
  io.write(string.format(
    '\n{"seconds": %f, "p50": %f, "p99": %f, "answers": {%s}}\n', summary.duration / 1e6 - skip,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, table.concat(parts, ", ")))
end
