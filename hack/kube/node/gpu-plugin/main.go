// A device plugin that offers N make-believe devices, so that scheduling by GPU is the real thing on a
// machine without one: the kubelet counts, allocates and frees them as it does a vendor's. The container is
// told which it got in POSETASK_DEVICES.
//
// Protocol: Kubernetes device plugins, v1beta1.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	socket  = "posetask-gpu.sock"
	timeout = 10 * time.Second
	look    = time.Second // between looks for a kubelet that started anew and forgot us
)

type plugin struct {
	api.UnimplementedDevicePluginServer
	devices []*api.Device
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	if err := stream.Send(&api.ListAndWatchResponse{Devices: p.devices}); err != nil {
		return err
	}
	<-stream.Context().Done() // they stay healthy
	return nil
}

func (p *plugin) Allocate(_ context.Context, asked *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for _, container := range asked.ContainerRequests {
		names := strings.Join(container.DevicesIds, ",")
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"POSETASK_DEVICES": names},
		})
		log.Printf("allocated %s", names)
	}
	return answer, nil
}

// serve offers the devices until the kubelet removes our socket, which it does when it starts anew.
func (p *plugin) serve(ctx context.Context, folder, resource string) error {
	path := filepath.Join(folder, socket)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	go server.Serve(listener) //nolint:errcheck // ends with Stop
	defer server.Stop()
	if err := register(ctx, filepath.Join(folder, "kubelet.sock"), resource); err != nil {
		return err
	}
	log.Printf("%d of %s offered", len(p.devices), resource)
	for ctx.Err() == nil {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("the kubelet started anew")
		}
		time.Sleep(look)
	}
	return nil
}

func register(ctx context.Context, kubelet, resource string) error {
	connection, err := grpc.NewClient("unix://"+kubelet, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err = api.NewRegistrationClient(connection).Register(ctx, &api.RegisterRequest{
		Version:      api.Version,
		Endpoint:     socket,
		ResourceName: resource,
	})
	return err
}

func main() {
	folder := flag.String("dir", api.DevicePluginPath, "the kubelet's folder for device plugins")
	resource := flag.String("resource", "nvidia.com/gpu", "name of the extended resource")
	count := flag.Int("count", 2, "how many")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	p := &plugin{}
	for i := range *count {
		p.devices = append(p.devices, &api.Device{ID: fmt.Sprintf("gpu-%d", i), Health: api.Healthy})
	}
	for ctx.Err() == nil {
		if err := p.serve(ctx, *folder, *resource); err != nil {
			log.Printf("again in a moment: %v", err)
			time.Sleep(look)
		}
	}
}
