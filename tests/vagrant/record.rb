# Load a Vagrantfile as Vagrant does, but write down every call that it makes: one JSON list on stdout.
#
#   ruby record.rb Vagrantfile
#
# Each entry says on what the call was made, as "config.vm" or "config.vm.provider(hyperv)[1]" (the second thing that the
# block of config.vm.provider "hyperv" was given), the name of the method, and its arguments. Nothing is checked here.
require "json"

class Recorder < BasicObject
  def initialize(path, calls)
    @path, @calls = path, calls
  end

  def method_missing(name, *args, &block)
    @calls << { on: @path, call: name, arguments: args }
    inner = args.empty? ? "#{@path}.#{name}" : "#{@path}.#{name}(#{args.first})"
    return ::Recorder.new(inner, @calls) unless block

    block.call(*(0...block.arity.abs).map { |index| ::Recorder.new("#{inner}[#{index}]", @calls) })
  end
end

module Vagrant
  CALLS = []

  def self.configure(version)
    CALLS << { on: "Vagrant", call: "configure", arguments: [version] }
    yield Recorder.new("config", CALLS)
  end
end

load File.expand_path(ARGV.fetch(0))
puts JSON.generate(Vagrant::CALLS)
