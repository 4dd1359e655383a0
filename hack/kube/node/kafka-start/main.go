// Starts one Kafka broker in a container that has Java and no shell: KAFKA_* variables become settings by the
// convention of the official image (KAFKA_LOG_DIRS is log.dirs), the storage is formatted once, and Java takes over.
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
)

const (
	jars    = "/opt/kafka/jars/*"
	file    = "/tmp/server.properties"
	cluster = "cG9zZXRhc2stZGV2LWtmaw" // 16 bytes in base64
)

// Of the start, not of the broker.
var ours = map[string]bool{"KAFKA_HEAP_OPTS": true, "KAFKA_OPTS": true}

func settings(environment []string) (lines []string, directories string) {
	for _, entry := range environment {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "KAFKA_") || ours[name] {
			continue
		}
		key := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "KAFKA_"), "_", "."))
		lines = append(lines, key+"="+value)
		if key == "log.dirs" {
			directories = value
		}
	}
	sort.Strings(lines)
	return lines, directories
}

func main() {
	java, err := filepath.Glob("/usr/lib/jvm/java-*/bin/java")
	if err != nil || len(java) == 0 {
		log.Fatal("no Java below /usr/lib/jvm")
	}
	lines, directories := settings(os.Environ())
	if directories == "" {
		log.Fatal("KAFKA_LOG_DIRS is not set")
	}
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	heap := strings.Fields(os.Getenv("KAFKA_HEAP_OPTS"))
	options := append(heap, "-Dlog4j2.configurationFile=/opt/kafka/log4j2.properties", "-cp", jars)
	if _, err := os.Stat(filepath.Join(directories, "meta.properties")); os.IsNotExist(err) {
		words := append(append([]string{}, options...), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", file)
		command := exec.Command(java[0], words...)
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		if err := command.Run(); err != nil {
			log.Fatal(fmt.Errorf("the storage cannot be formatted: %w", err))
		}
	}
	words := append(append([]string{java[0]}, options...), "kafka.Kafka", file)
	log.Fatal(syscall.Exec(java[0], words, os.Environ()))
}
